#include "../cpu/winograd.h"

#include "bindings.h"

namespace fastgan::bindings {

namespace {

const float* floats(Address address) { return static_cast<const float*>(in(address)); }
float* result(Address address) { return static_cast<float*>(out(address)); }

WinogradCall call_of(int tile, std::int64_t batch, std::int64_t height, std::int64_t width, std::int64_t channels,
                     std::int64_t filters, int pad_height, int pad_width, std::int64_t filter_stride,
                     std::int64_t channel_stride, std::int64_t tap_stride, bool flipped, Address divisor, int threads) {
  return {tile,      batch,         height,         width,      channels, filters,         pad_height,
          pad_width, filter_stride, channel_stride, tap_stride, flipped,  floats(divisor), threads};
}

WinogradPrologue gate_of(Address gate, float below) {
  WinogradPrologue before{WinogradPrologue::kGate};
  before.gate = floats(gate);
  before.below = below;
  return before;
}

WinogradPrologue affine_of(Address mean, Address scale, Address shift, std::int64_t scale_by_sample,
                           std::int64_t shift_by_sample, float above, float below) {
  return {WinogradPrologue::kAffine, nullptr,         floats(mean), floats(scale), floats(shift),
          scale_by_sample,           shift_by_sample, above,        below};
}

WinogradEpilogue epilogue_of(Address bias, Address residual, bool half, Address gate, float below, Address statistics) {
  return {floats(bias), floats(residual), half, floats(gate), below, result(statistics)};
}

}  // namespace

void bind_winograd(py::module_& module) {
  py::class_<WinogradCall>(module, "WinogradCall", py::module_local()).def(py::init(&call_of));
  py::class_<WinogradPrologue>(module, "WinogradPrologue", py::module_local())
      .def(py::init<>())
      .def(py::init(&gate_of))
      .def(py::init(&affine_of));
  py::class_<WinogradEpilogue>(module, "WinogradEpilogue", py::module_local()).def(py::init(&epilogue_of));
  module.def(
      "winograd_convolution",
      [](const WinogradCall& call, const WinogradPrologue& before, const WinogradEpilogue& after, Address input,
         Address weight, Address output) {
        return winograd_convolution(call, before, after, floats(input), floats(weight), result(output));
      },
      WithoutGil());
  module.def(
      "winograd_weight_gradient",
      [](const WinogradCall& call, const WinogradPrologue& before, Address input, Address grad_output,
         Address grad_weight) {
        return winograd_weight_gradient(call, before, floats(input), floats(grad_output), result(grad_weight));
      },
      WithoutGil());
  module.def("winograd_scratch", &winograd_scratch);
}

}  // namespace fastgan::bindings
