// 3×3 convolutions of stride 1 in float32 by Winograd's algorithm, F(4,3) or F(2,3), on channels_last images of any
// size and any number of channels.
#pragma once

#include <cstdint>

namespace fastgan {

struct WinogradCall {
  int tile;                                         // pixels of an output tile's side: 4 or 2
  int64_t batch, height, width, channels, filters;  // of the input, and of the output
  int pad_height, pad_width;                        // zeros on each side: 0, 1 or 2
  // Where weight (filter, channel, tap) lies, in elements; taps are in order, or in reverse where `flipped`.
  int64_t filter_stride, channel_stride, tap_stride;
  bool flipped;
  int threads;
};

// output [batch, height + 2 pad_height - 2, ..., filters] = the correlation of input and weight, + bias [filters] or
// null. The input's gradient is the same with the weight's strides exchanged, flipped, and a padding of 2 - pad.
// False where a result is not finite: then a direct convolution tells which of its own results are.
bool winograd_convolution(const WinogradCall& call, const float* input, const float* weight, const float* bias,
                          float* output);

// grad_weight of the same convolution, at the weight's strides, from input and grad_output; false as above.
bool winograd_weight_gradient(const WinogradCall& call, const float* input, const float* grad_output,
                              float* grad_weight);

// Bytes of scratch memory that the calling thread keeps from one call to the next.
int64_t winograd_scratch();

}  // namespace fastgan
