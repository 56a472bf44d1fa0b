#include "../cpu/gate_by_bits.h"

#include "bindings.h"

namespace fastgan::bindings {

void bind_gate_by_bits(py::module_& module) {
  module.def(
      "sign_bits",
      [](int dtype, std::int64_t total, int threads, Address input, Address bits) {
        sign_bits({DType(dtype), total, threads}, in(input), out(bits));
      },
      WithoutGil());
  module.def(
      "gate_by_bits",
      [](int dtype, std::int64_t total, int threads, Address input, Address bits, double alpha, double gain,
         Address output) {
        gate_by_bits({DType(dtype), total, threads}, in(input), in(bits), alpha, gain, out(output));
      },
      WithoutGil());
}

}  // namespace fastgan::bindings
