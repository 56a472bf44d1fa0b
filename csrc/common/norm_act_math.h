// One element of norm_act: y = gain act((x - mean) scale + shift), where scale is the weight times 1 / deviation, and
// its gradient. Only the piecewise linear activations of bias_act: z tells their slope.
#pragma once

#include "bias_act_math.h"

namespace fastgan {

// Of one channel, or of one channel of a sample.
template <class A>
struct NormActAffine {
  A mean, scale, shift;
};

template <class A>
FASTGAN_HD A norm_act_point(A x, const NormActAffine<A>& affine) {
  return (x - affine.mean) * affine.scale + affine.shift;
}

template <class Act, class A>
FASTGAN_HD A norm_act_value(A x, const NormActAffine<A>& affine, A alpha, A gain) {
  return Act::value(norm_act_point(x, affine), alpha) * gain;
}

// The gradient by z.
template <class Act, class A>
FASTGAN_HD A norm_act_gradient(A grad_output, A x, const NormActAffine<A>& affine, A alpha, A gain) {
  return grad_output * gain * Act::slope(norm_act_point(x, affine), alpha);
}

}  // namespace fastgan
