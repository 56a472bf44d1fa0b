// The 3×3 convolution, padding 1, of a nearest-upsampled image in float32 by Winograd's algorithm, on channels_last
// images of any size and any number of channels.
#pragma once

#include <cstdint>

namespace fastgan {

struct WinogradUpsampleCall {
  int64_t batch, height, width, channels, filters;    // of the input; the output has twice its height and width
  int64_t filter_stride, channel_stride, tap_stride;  // where weight (filter, channel, tap) lies, in elements
  int threads;
};

// output [batch, 2 height, 2 width, filters] = the correlation of the upsampled input and weight, + bias [filters] or
// null, + residual like the output or null. Writes statistics [2][filters], the output's means and sums of squared
// deviations, where not null. False where a result is not finite: then a direct convolution tells which of its own
// results are.
bool winograd_upsample(const WinogradUpsampleCall& call, const float* input, const float* weight, const float* bias,
                       const float* residual, float* output, float* statistics);

// grad_input of the same, from grad_output and weight; false as above.
bool winograd_upsample_input_gradient(const WinogradUpsampleCall& call, const float* grad_output, const float* weight,
                                      float* grad_input);

// grad_weight, at the weight's strides, from input and grad_output; false as above.
bool winograd_upsample_weight_gradient(const WinogradUpsampleCall& call, const float* input, const float* grad_output,
                                       float* grad_weight);

}  // namespace fastgan
