// norm_act on the CPU: statistics of channels, y = gain act((x - mean) / deviation weight + bias), and the first
// derivatives. Statistics and parameters are of the accumulating type: double for double, float for the others.
#pragma once

#include <cstdint>

#include "parallel.h"

namespace fastgan {

// A tensor [samples, channels, pixels], or [samples, pixels, channels] where channels_last.
struct NormActCall {
  DType dtype;
  int act;
  double alpha, gain, eps;
  int64_t samples, channels, pixels;
  bool channels_last;
  int threads;
};

// Null for none. Each is [channels], or [samples, channels] where the flag after it says so.
struct NormActParameters {
  const void *mean, *variance;
  bool statistics_by_sample;
  const void* weight;
  bool weight_by_sample;
  const void* bias;
  bool bias_by_sample;
};

// mean, variance and unbiased variance: [samples, channels] if by_sample, else [channels]. They do not depend on the
// number of threads where samples are many, and on nothing else where they are few.
void norm_act_statistics(const NormActCall& call, const void* input, bool by_sample, void* mean, void* variance,
                         void* unbiased);

void norm_act_forward(const NormActCall& call, const NormActParameters& parameters, const void* input, void* output);

// With g the gradient by what the activation sees and x̂ the normalised input: sums [2, samples, channels] of g x̂ and g.
void norm_act_sums(const NormActCall& call, const NormActParameters& parameters, const void* grad_output,
                   const void* input, void* sums);

// moments: null, or means of weight g x̂ and of weight g, [2, channels] or [2, samples, channels] like the statistics.
void norm_act_input_gradient(const NormActCall& call, const NormActParameters& parameters, const void* grad_output,
                             const void* input, const void* moments, void* grad_input);

// The same with the statistic of each pixel, x̂ = x / sqrt(mean of x² over channels + eps); there are no other ones.
void norm_act_pixel_forward(const NormActCall& call, const NormActParameters& parameters, const void* input,
                            void* output);
// sums as above.
void norm_act_pixel_backward(const NormActCall& call, const NormActParameters& parameters, const void* grad_output,
                             const void* input, void* grad_input, void* sums);

}  // namespace fastgan
