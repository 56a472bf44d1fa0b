#include "../cpu/interpolate_samples.h"

#include "bindings.h"

namespace fastgan::bindings {

void bind_interpolate_samples(py::module_& module) {
  module.def(
      "interpolate_samples",
      [](int dtype, std::int64_t samples, std::int64_t length, int threads, Address input, Address other, Address eps,
         Address output) {
        interpolate_samples({DType(dtype), samples, length, threads}, in(input), in(other), in(eps), out(output));
      },
      WithoutGil());
  module.def(
      "interpolate_samples_backward",
      [](int dtype, std::int64_t samples, std::int64_t length, int threads, Address grad_output, Address eps,
         Address grad_input, Address grad_other) {
        interpolate_samples_backward({DType(dtype), samples, length, threads}, in(grad_output), in(eps),
                                     out(grad_input), out(grad_other));
      },
      WithoutGil());
}

}  // namespace fastgan::bindings
