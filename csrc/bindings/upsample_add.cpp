#include "../cpu/upsample_add.h"

#include "bindings.h"

namespace fastgan::bindings {

void bind_upsample_add(py::module_& module) {
  module.def(
      "upsample_add",
      [](int dtype, std::int64_t planes, std::int64_t height, std::int64_t width, std::int64_t inner,
         std::int64_t channels, int threads, Address input, Address low, Address output, Address statistics) {
        const UpsampleAddCall call{DType(dtype), planes, height, width, inner, channels, threads};
        upsample_add(call, in(input), in(low), out(output), out(statistics));
      },
      WithoutGil());
}

}  // namespace fastgan::bindings
