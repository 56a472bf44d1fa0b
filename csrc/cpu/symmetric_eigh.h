// Eigenvalues and eigenvectors of many small symmetric matrices, one matrix a thread.
#pragma once

#include <cstdint>

#include "parallel.h"

namespace fastgan {

// `matrix` is [batch, n, n], of which the lower triangles are read; `eigenvalues` [batch, n] is in ascending order, and
// `eigenvectors` [batch, n, n], which may be null, has them in columns. float32 or float64. Where a matrix holds NaN or
// infinity, so do all of its results.
void symmetric_eigh(DType dtype, int64_t batch, int64_t n, int threads, const void* matrix, void* eigenvalues,
                    void* eigenvectors);

}  // namespace fastgan
