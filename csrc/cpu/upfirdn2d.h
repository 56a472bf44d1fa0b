// upfirdn2d on the CPU: upsample by zeros, pad, filter, downsample. Its adjoint is a call of the same kind.
#pragma once

#include <cstdint>

#include "../common/upfirdn2d_math.h"
#include "parallel.h"

namespace fastgan {

// Images in memory order: [planes, height, width, inner], where inner is 1 (NCHW) or the channels (channels_last).
struct Upfirdn2dCall {
  DType dtype;
  int64_t planes, inner;
  ResampledAxis y, x;
  bool separable, flip;  // flip: correlate with the filter as it is stored
  double gain;
  int threads;
};

// filter: [x.taps] where separable, which is then both axes', else [y.taps, x.taps]; in the type the dtype is computed
// in (double for float64, else float). Null for the single tap 1.
void upfirdn2d(const Upfirdn2dCall& call, const void* input, const void* filter, void* output);

}  // namespace fastgan
