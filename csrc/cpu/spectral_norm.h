// Spectral norm on the CPU, for a group of weights: W / σ by power iteration, and its first and second derivatives.
#pragma once

#include <cstdint>
#include <vector>

#include "parallel.h"

namespace fastgan {

// A dense weight as its memory lies, [outer, rows, inner]: the matrix's rows are the middle dimension, its columns the
// other two. u has `rows` entries, v outer * inner.
struct SpectralShape {
  int64_t outer, rows, inner;
};

struct SpectralWeight {
  SpectralShape shape;
  const void *weight, *u, *v;
  void* output;  // null where Ŵ is not wanted
  void* sigma;   // of the accumulating type
  void *new_u, *new_v;
};

struct SpectralNormCall {
  DType dtype;
  int n_power_iterations;
  double eps;
  bool v_first;
  int threads;
};

// Results depend on the number of threads, and on nothing else.
void spectral_norm(const SpectralNormCall& call, const std::vector<SpectralWeight>& weights);

struct SpectralGradientWeight {
  SpectralShape shape;
  const void *grad_output, *weight, *sigma, *u, *v;
  void* grad_weight;
};

void spectral_norm_backward(DType dtype, int threads, const std::vector<SpectralGradientWeight>& weights);

struct SpectralSecondWeight {
  SpectralShape shape;
  const void *grad_grad_weight, *grad_output, *weight, *sigma, *u, *v;
  void *grad_grad_output, *grad_weight;
};

void spectral_norm_double_backward(DType dtype, int threads, const std::vector<SpectralSecondWeight>& weights);

// A layer that used W for Ŵ = W / σ, in its backward: the input's gradient becomes that through Ŵ, in place, and the
// sum ⟨input, its gradient⟩ = ⟨G, Ŵ⟩ is returned. Both are [count], in one order.
double spectral_norm_input_gradient(DType dtype, int threads, int64_t count, const void* input, void* grad_input,
                                    const void* sigma);

// Then the weight's, in place: G becomes (G − ⟨G, Ŵ⟩ u vᵀ) / σ. The shape is G's.
void spectral_norm_weight_gradient(DType dtype, int threads, const SpectralShape& shape, void* grad, const void* sigma,
                                   const void* u, const void* v, double grad_dot_output);

}  // namespace fastgan
