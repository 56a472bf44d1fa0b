// Sums over 2×2 neighbourhoods at stride 1, with the activation before them, or with a bias, a residual and the
// statistics of what is written after them.
#pragma once

#include <cstdint>

#include "parallel.h"

namespace fastgan {

// The input seen as planes of height × width pixels of `inner` consecutive elements: channels_last has a plane for each
// sample and inner = channels, the default layout one for each sample and channel and inner = 1.
struct BoxFilter2dCall {
  DType dtype;
  int act;  // linear, relu or lrelu, numbered as in bias_act
  double alpha, scale;
  int64_t planes, height, width, inner, channels;
  int padding;  // 0 or 1: rows and columns of zeros on each side
  int threads;
};

// output = scale · Box(act(input)) + bias + residual, of height - 1 + 2 padding rows and as many columns less.
// With input_gate (like input) it is scale · Box(input · act'(input_gate)) instead; with output_gate (like output)
// act'(output_gate) · scale · Box(input). At most one of the two, and nothing is added with the latter. bias [channels]
// or null, residual like output or null.
// statistics [2][channels] or null: mean and sum of squared deviations of what is written, over all samples and pixels;
// of the accumulator's type. They depend on the number of threads, and on nothing else.
void box_filter2d(const BoxFilter2dCall& call, const void* input, const void* input_gate, const void* output_gate,
                  const void* bias, const void* residual, void* output, void* statistics);

}  // namespace fastgan
