// What the CPU ops share: storage types by number, and the number of threads a piece of work is worth.
#pragma once

#include <algorithm>
#include <cstdint>

#include "../common/numeric.h"

namespace fastgan {

enum class DType : int { float32, float64, float16, bfloat16 };

// Calls body with a zero of the storage type.
template <class Body>
void with_dtype(DType dtype, Body body) {
  switch (dtype) {
    case DType::float32: return body(float{});
    case DType::float64: return body(double{});
    case DType::float16: return body(Half{});
    case DType::bfloat16: return body(BFloat16{});
  }
}

// A thread is worth starting for so many elements.
constexpr int64_t kGrain = 16384;

inline int threads_for(int64_t total, int threads) {
  return static_cast<int>(std::clamp<int64_t>(total / kGrain, 1, std::max(threads, 1)));
}

}  // namespace fastgan
