#include "../cpu/norm_act.h"

#include "bindings.h"

namespace fastgan::bindings {

void bind_norm_act(py::module_& module) {
  // module_local: the baseline module and the chosen level are both loaded.
  py::class_<NormActCall>(module, "NormActCall", py::module_local())
      .def(py::init([](int dtype, int act, double alpha, double gain, double eps, std::int64_t samples,
                       std::int64_t channels, std::int64_t pixels, bool channels_last, int threads) {
        return NormActCall{DType(dtype), act, alpha, gain, eps, samples, channels, pixels, channels_last, threads};
      }));
  py::class_<NormActParameters>(module, "NormActParameters", py::module_local())
      .def(py::init([](Address mean, Address variance, bool statistics_by_sample, Address weight, bool weight_by_sample,
                       Address bias, bool bias_by_sample) {
        return NormActParameters{in(mean),         in(variance), statistics_by_sample, in(weight),
                                 weight_by_sample, in(bias),     bias_by_sample};
      }));
  module.def(
      "norm_act_statistics",
      [](const NormActCall& call, Address input, bool by_sample, Address mean, Address variance, Address unbiased) {
        norm_act_statistics(call, in(input), by_sample, out(mean), out(variance), out(unbiased));
      },
      WithoutGil());
  module.def(
      "norm_act_forward",
      [](const NormActCall& call, const NormActParameters& parameters, Address input, Address output) {
        norm_act_forward(call, parameters, in(input), out(output));
      },
      WithoutGil());
  module.def(
      "norm_act_sums",
      [](const NormActCall& call, const NormActParameters& parameters, Address grad_output, Address input,
         Address sums) { norm_act_sums(call, parameters, in(grad_output), in(input), out(sums)); },
      WithoutGil());
  module.def(
      "norm_act_input_gradient",
      [](const NormActCall& call, const NormActParameters& parameters, Address grad_output, Address input,
         Address moments, Address grad_input) {
        norm_act_input_gradient(call, parameters, in(grad_output), in(input), in(moments), out(grad_input));
      },
      WithoutGil());
  module.def(
      "norm_act_pixel_forward",
      [](const NormActCall& call, const NormActParameters& parameters, Address input, Address output) {
        norm_act_pixel_forward(call, parameters, in(input), out(output));
      },
      WithoutGil());
  module.def(
      "norm_act_pixel_backward",
      [](const NormActCall& call, const NormActParameters& parameters, Address grad_output, Address input,
         Address grad_input, Address sums) {
        norm_act_pixel_backward(call, parameters, in(grad_output), in(input), out(grad_input), out(sums));
      },
      WithoutGil());
}

}  // namespace fastgan::bindings
