// Points between two batches, each sample at a place of its own, and their derivatives.
#pragma once

#include "samples.h"

namespace fastgan {

// eps is [samples], of the type that the dtype is computed in; every other tensor is [samples, length].

// output = eps input + (1 - eps) other.
void interpolate_samples(const SamplesCall& call, const void* input, const void* other, const void* eps, void* output);

// grad_input = eps grad_output and grad_other = (1 - eps) grad_output, each where it is not null.
void interpolate_samples_backward(const SamplesCall& call, const void* grad_output, const void* eps, void* grad_input,
                                  void* grad_other);

}  // namespace fastgan
