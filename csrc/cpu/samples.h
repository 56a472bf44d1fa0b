// Tensors whose samples lie one after the other in memory.
#pragma once

#include <cstdint>

#include "parallel.h"

namespace fastgan {

// They are seen as [samples, length].
struct SamplesCall {
  DType dtype;
  int64_t samples, length;
  int threads;
};

}  // namespace fastgan
