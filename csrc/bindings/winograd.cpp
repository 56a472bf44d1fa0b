#include "../cpu/winograd.h"

#include "bindings.h"

namespace fastgan::bindings {

namespace {

WinogradCall call_of(int tile, std::int64_t batch, std::int64_t height, std::int64_t width, std::int64_t channels,
                     std::int64_t filters, int pad_height, int pad_width, std::int64_t filter_stride,
                     std::int64_t channel_stride, std::int64_t tap_stride, bool flipped, int threads) {
  return {tile,      batch,         height,         width,      channels, filters, pad_height,
          pad_width, filter_stride, channel_stride, tap_stride, flipped,  threads};
}

const float* floats(Address address) { return static_cast<const float*>(in(address)); }
float* result(Address address) { return static_cast<float*>(out(address)); }

}  // namespace

void bind_winograd(py::module_& module) {
  py::class_<WinogradCall>(module, "WinogradCall", py::module_local()).def(py::init(&call_of));
  module.def(
      "winograd_convolution",
      [](const WinogradCall& call, Address input, Address weight, Address bias, Address output) {
        return winograd_convolution(call, floats(input), floats(weight), floats(bias), result(output));
      },
      WithoutGil());
  module.def(
      "winograd_weight_gradient",
      [](const WinogradCall& call, Address input, Address grad_output, Address grad_weight) {
        return winograd_weight_gradient(call, floats(input), floats(grad_output), result(grad_weight));
      },
      WithoutGil());
  module.def("winograd_scratch", &winograd_scratch);
}

}  // namespace fastgan::bindings
