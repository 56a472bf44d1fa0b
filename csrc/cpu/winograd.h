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
  const float* divisor;  // of the weight, or null
  int threads;
};

// What becomes of the input's pixels x as they are read; beyond the border there are zeros all the same.
struct WinogradPrologue {
  // kGate: x (gate > 0 ? above : below). kAffine: z (z > 0 ? above : below) of z = (x - mean) scale + shift.
  enum Kind { kNothing, kGate, kAffine } kind = kNothing;
  const float* gate = nullptr;  // like the input
  const float* mean = nullptr;  // of the channels, as are the next two
  const float* scale = nullptr;
  const float* shift = nullptr;
  int64_t scale_by_sample = 0, shift_by_sample = 0;  // from one sample's to the next: 0 or the channels
  float above = 1, below = 1;
};

// What becomes of the sums as they are written: + bias + residual, and then times (gate > 0 ? 1 : below). Each may be
// null.
struct WinogradEpilogue {
  const float* bias = nullptr;      // [filters]
  const float* residual = nullptr;  // like the output, or of half its height and width, to be upsampled
  bool half = false;
  const float* gate = nullptr;  // like the output
  float below = 1;
  float* statistics = nullptr;  // [2][filters]: means, and sums of squared deviations, are written here
};

// output [batch, height + 2 pad_height - 2, ..., filters] = the correlation of input and weight. The input's gradient
// is the same with the weight's strides exchanged, flipped, and a padding of 2 - pad.
// False where a result is not finite: then a direct convolution tells which of its own results are.
bool winograd_convolution(const WinogradCall& call, const WinogradPrologue& before, const WinogradEpilogue& after,
                          const float* input, const float* weight, float* output);

// grad_weight of the same convolution, at the weight's strides, from input and grad_output; false as above.
bool winograd_weight_gradient(const WinogradCall& call, const WinogradPrologue& before, const float* input,
                              const float* grad_output, float* grad_weight);

// Bytes of scratch memory that the calling thread keeps from one call to the next.
int64_t winograd_scratch();

}  // namespace fastgan
