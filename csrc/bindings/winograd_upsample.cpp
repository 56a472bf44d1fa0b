#include "../cpu/winograd_upsample.h"

#include "bindings.h"

namespace fastgan::bindings {

namespace {

WinogradUpsampleCall upsample_call(std::int64_t batch, std::int64_t height, std::int64_t width, std::int64_t channels,
                                   std::int64_t filters, std::int64_t filter_stride, std::int64_t channel_stride,
                                   std::int64_t tap_stride, float scale, int threads) {
  return {batch, height, width, channels, filters, filter_stride, channel_stride, tap_stride, scale, threads};
}

const float* in_floats(Address address) { return static_cast<const float*>(in(address)); }
float* out_floats(Address address) { return static_cast<float*>(out(address)); }

}  // namespace

void bind_winograd_upsample(py::module_& module) {
  py::class_<WinogradUpsampleCall>(module, "WinogradUpsampleCall", py::module_local()).def(py::init(&upsample_call));
  module.def(
      "winograd_upsample",
      [](const WinogradUpsampleCall& call, const WinogradEpilogue& after, Address input, Address weight,
         Address output) {
        return winograd_upsample(call, after, in_floats(input), in_floats(weight), out_floats(output));
      },
      WithoutGil());
  module.def(
      "winograd_upsample_input_gradient",
      [](const WinogradUpsampleCall& call, const WinogradPrologue& before, Address grad_output, Address weight,
         Address bias, Address grad_input) {
        return winograd_upsample_input_gradient(call, before, in_floats(grad_output), in_floats(weight),
                                                in_floats(bias), out_floats(grad_input));
      },
      WithoutGil());
  module.def(
      "winograd_upsample_weight_gradient",
      [](const WinogradUpsampleCall& call, const WinogradPrologue& before, Address input, Address grad_output,
         Address grad_weight) {
        return winograd_upsample_weight_gradient(call, before, in_floats(input), in_floats(grad_output),
                                                 out_floats(grad_weight));
      },
      WithoutGil());
}

}  // namespace fastgan::bindings
