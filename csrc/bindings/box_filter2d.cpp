#include "../cpu/box_filter2d.h"

#include "bindings.h"

namespace fastgan::bindings {

void bind_box_filter2d(py::module_& module) {
  module.def(
      "box_filter2d",
      [](int dtype, int act, double alpha, double scale, std::int64_t planes, std::int64_t height, std::int64_t width,
         std::int64_t inner, std::int64_t channels, int padding, int threads, Address input, Address input_gate,
         Address output_gate, Address bias, Address residual, Address output, Address statistics) {
        const BoxFilter2dCall call{DType(dtype), act,   alpha,    scale,   planes, height,
                                   width,        inner, channels, padding, threads};
        box_filter2d(call, in(input), in(input_gate), in(output_gate), in(bias), in(residual), out(output),
                     out(statistics));
      },
      WithoutGil());
}

}  // namespace fastgan::bindings
