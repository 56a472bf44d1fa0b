// The 3×3 convolution, padding 1, of a nearest-upsampled image in float32 by Winograd's algorithm, on channels_last
// images of any size and any number of channels.
//
// A convolution that 2×2 sums follow is the input's gradient of another one, whose weight has its channels exchanged
// and its taps reversed: there a prologue is of what takes the place of grad_output, and of the output in the other's.
#pragma once

#include "winograd.h"

namespace fastgan {

struct WinogradUpsampleCall {
  int64_t batch, height, width, channels, filters;    // of the input; the output has twice its height and width
  int64_t filter_stride, channel_stride, tap_stride;  // where weight (filter, channel, tap) lies, in elements
  float scale;                                        // of the weight, and of its gradient
  int threads;
};

// output [batch, 2 height, 2 width, filters] = the correlation of the upsampled input and weight, and then the
// epilogue, without residuals of half the size. False where a result is not finite: then a direct convolution tells
// which of its own results are.
bool winograd_upsample(const WinogradUpsampleCall& call, const WinogradEpilogue& after, const float* input,
                       const float* weight, float* output);

// grad_input of the same, + bias [channels] or null, from grad_output, read through a prologue that has no affine map,
// and weight; false as above.
bool winograd_upsample_input_gradient(const WinogradUpsampleCall& call, const WinogradPrologue& before,
                                      const float* grad_output, const float* weight, const float* bias,
                                      float* grad_input);

// grad_weight, at the weight's strides, from input and grad_output, read through such a prologue; false as above.
bool winograd_upsample_weight_gradient(const WinogradUpsampleCall& call, const WinogradPrologue& before,
                                       const float* input, const float* grad_output, float* grad_weight);

}  // namespace fastgan
