#include "../cpu/flip_weight.h"

#include "bindings.h"

namespace fastgan::bindings {

void bind_flip_weight(py::module_& module) {
  using Integer = std::int64_t;
  module.def(
      "flip_weight",
      [](int itemsize, Integer groups, Integer rows, Integer columns, Integer taps, Integer in_group, Integer in_row,
         Integer in_column, Integer in_tap, Integer out_group, Integer out_row, Integer out_column, Integer out_tap,
         int threads, Address input, Address output) {
        flip_weight({itemsize, groups, rows, columns, taps, in_group, in_row, in_column, in_tap, out_group, out_row,
                     out_column, out_tap, threads},
                    in(input), out(output));
      },
      WithoutGil());
}

}  // namespace fastgan::bindings
