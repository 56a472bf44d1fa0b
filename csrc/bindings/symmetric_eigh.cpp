#include "../cpu/symmetric_eigh.h"

#include "bindings.h"

namespace fastgan::bindings {

void bind_symmetric_eigh(py::module_& module) {
  module.def(
      "symmetric_eigh",
      [](int dtype, std::int64_t batch, std::int64_t n, int threads, Address matrix, Address eigenvalues,
         Address eigenvectors) {
        symmetric_eigh(DType(dtype), batch, n, threads, in(matrix), out(eigenvalues), out(eigenvectors));
      },
      WithoutGil());
}

}  // namespace fastgan::bindings
