#include "../cpu/winograd_upsample.h"

#include "bindings.h"

namespace fastgan::bindings {

namespace {

WinogradUpsampleCall upsample_call(std::int64_t batch, std::int64_t height, std::int64_t width, std::int64_t channels,
                                   std::int64_t filters, std::int64_t filter_stride, std::int64_t channel_stride,
                                   std::int64_t tap_stride, int threads) {
  return {batch, height, width, channels, filters, filter_stride, channel_stride, tap_stride, threads};
}

const float* in_floats(Address address) { return static_cast<const float*>(in(address)); }
float* out_floats(Address address) { return static_cast<float*>(out(address)); }

}  // namespace

void bind_winograd_upsample(py::module_& module) {
  py::class_<WinogradUpsampleCall>(module, "WinogradUpsampleCall", py::module_local()).def(py::init(&upsample_call));
  module.def(
      "winograd_upsample",
      [](const WinogradUpsampleCall& call, Address input, Address weight, Address bias, Address residual,
         Address output, Address statistics) {
        return winograd_upsample(call, in_floats(input), in_floats(weight), in_floats(bias), in_floats(residual),
                                 out_floats(output), out_floats(statistics));
      },
      WithoutGil());
  module.def(
      "winograd_upsample_input_gradient",
      [](const WinogradUpsampleCall& call, Address grad_output, Address weight, Address grad_input) {
        return winograd_upsample_input_gradient(call, in_floats(grad_output), in_floats(weight),
                                                out_floats(grad_input));
      },
      WithoutGil());
  module.def(
      "winograd_upsample_weight_gradient",
      [](const WinogradUpsampleCall& call, Address input, Address grad_output, Address grad_weight) {
        return winograd_upsample_weight_gradient(call, in_floats(input), in_floats(grad_output),
                                                 out_floats(grad_weight));
      },
      WithoutGil());
}

}  // namespace fastgan::bindings
