#include "../cpu/bias_act.h"

#include "bindings.h"

namespace fastgan::bindings {

void bind_bias_act(py::module_& module) {
  // module_local: the baseline module and the chosen level are both loaded.
  py::class_<BiasActCall>(module, "BiasActCall", py::module_local())
      .def(py::init([](int dtype, int act, double alpha, double gain, double clamp, std::int64_t outer,
                       std::int64_t channels, std::int64_t inner, int threads) {
        return BiasActCall{DType(dtype), act, alpha, gain, clamp, outer, channels, inner, threads};
      }));
  module.def(
      "bias_act",
      [](const BiasActCall& call, Address input, Address bias, Address output) {
        bias_act(call, in(input), in(bias), out(output));
      },
      WithoutGil());
  module.def(
      "bias_act_backward",
      [](const BiasActCall& call, Address grad_output, Address saved, Address bias, Address grad_input,
         Address grad_bias) {
        bias_act_backward(call, in(grad_output), in(saved), in(bias), out(grad_input), out(grad_bias));
      },
      WithoutGil());
  module.def(
      "bias_act_double_backward",
      [](const BiasActCall& call, Address grad_grad_input, Address grad_output, Address saved, Address bias,
         Address grad_grad_output, Address grad_saved) {
        bias_act_double_backward(call, in(grad_grad_input), in(grad_output), in(saved), in(bias), out(grad_grad_output),
                                 out(grad_saved));
      },
      WithoutGil());
}

}  // namespace fastgan::bindings
