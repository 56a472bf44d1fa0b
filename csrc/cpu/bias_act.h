// bias_act on the CPU: y = clamp(gain act(x + b)) and its first and second derivatives.
#pragma once

#include <cstdint>

#include "parallel.h"

namespace fastgan {

// A dense tensor seen in memory order: element i has channel (i / inner) % channels.
struct BiasActCall {
  DType dtype;
  int act;
  double alpha, gain, clamp;  // clamp is NaN where there is none
  int64_t outer, channels, inner;
  int threads;
};

// bias [channels], or null for none; every other tensor [outer, channels, inner].
void bias_act(const BiasActCall& call, const void* input, const void* bias, void* output);

// grad_bias [channels] or null. Its sums depend on the number of threads, and on nothing else.
void bias_act_backward(const BiasActCall& call, const void* grad_output, const void* saved, const void* bias,
                       void* grad_input, void* grad_bias);

void bias_act_double_backward(const BiasActCall& call, const void* grad_grad_input, const void* grad_output,
                              const void* saved, const void* bias, void* grad_grad_output, void* grad_saved);

}  // namespace fastgan
