// A penalty on the norm of each sample's gradient, with what its own derivative needs, in one reduction.
#pragma once

#include "samples.h"

namespace fastgan {

// With r the norm of a sample: weight r², or with a center (NaN for none) weight (r - center)², where `one_sided` only
// for r above it.
struct GradientNormPenalty {
  double weight, center;
  bool one_sided;
};

// gradient is [samples, length], penalty, the sum over samples, a number, and scale [samples]: the penalty's derivative
// with respect to the gradient is scale gradient. Both are of the type that the dtype is computed in. Sums do not
// depend on the number of threads.
void gradient_norm_penalty(const SamplesCall& call, const GradientNormPenalty& kind, const void* gradient,
                           void* penalty, void* scale);

// grad_gradient = grad_output scale gradient; grad_output is a number.
void gradient_norm_penalty_backward(const SamplesCall& call, const void* gradient, const void* scale,
                                    const void* grad_output, void* grad_gradient);

}  // namespace fastgan
