#include "../cpu/gradient_norm_penalty.h"

#include "bindings.h"

namespace fastgan::bindings {

void bind_gradient_norm_penalty(py::module_& module) {
  module.def(
      "gradient_norm_penalty",
      [](int dtype, std::int64_t samples, std::int64_t length, int threads, double weight, double center,
         bool one_sided, Address gradient, Address penalty, Address scale) {
        gradient_norm_penalty({DType(dtype), samples, length, threads}, {weight, center, one_sided}, in(gradient),
                              out(penalty), out(scale));
      },
      WithoutGil());
  module.def(
      "gradient_norm_penalty_backward",
      [](int dtype, std::int64_t samples, std::int64_t length, int threads, Address gradient, Address scale,
         Address grad_output, Address grad_gradient) {
        gradient_norm_penalty_backward({DType(dtype), samples, length, threads}, in(gradient), in(scale),
                                       in(grad_output), out(grad_gradient));
      },
      WithoutGil());
}

}  // namespace fastgan::bindings
