// The sum of an image and of a nearest-upsampled one of half its size, which is never written.
#pragma once

#include <cstdint>

#include "parallel.h"

namespace fastgan {

// Planes and inner as in box_filter2d. input and output are planes of 2 height × 2 width pixels, low of height × width.
struct UpsampleAddCall {
  DType dtype;
  int64_t planes, height, width, inner, channels;
  int threads;
};

// output = input + up(low). statistics as in box_filter2d.
void upsample_add(const UpsampleAddCall& call, const void* input, const void* low, void* output, void* statistics);

}  // namespace fastgan
