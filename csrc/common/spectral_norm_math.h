// Spectral norm, scalar by scalar: Ŵ = W / σ with σ = uᵀ W v, u and v constants of the derivatives. With E = u vᵀ,
// entry e of it, and the sums ⟨G, W⟩, ⟨H, E⟩, ⟨H, G⟩ over a whole weight:
//   dW = (G − ⟨G, W⟩/σ E) / σ                                                      the gradient for the cotangent G
//   dG = H/σ − ⟨H, E⟩/σ² W                                                         its derivatives for the cotangent H
//   dW = (2 ⟨G, W⟩⟨H, E⟩/σ³ − ⟨H, G⟩/σ²) E − ⟨H, E⟩/σ² G
#pragma once

#include "numeric.h"

namespace fastgan {

// A vector divided by its norm, from the sum of its squares' root: a norm less than eps counts as eps. NaN stays NaN.
template <class A>
FASTGAN_HD A inverse_norm(A norm, A eps) {
  return A(1) / (norm < eps ? eps : norm);
}

// σ of the half-step that made the last vector x / max(‖x‖, eps): the product of x with it.
template <class A>
FASTGAN_HD A sigma_of_norm(A norm, A eps) {
  return norm * (norm * inverse_norm(norm, eps));
}

template <class A>
struct SpectralGradient {
  A inverse_sigma, along;  // 1/σ and ⟨G, W⟩/σ²

  FASTGAN_HD SpectralGradient(A sigma, A g_w) : inverse_sigma(A(1) / sigma), along(g_w / sigma / sigma) {}

  FASTGAN_HD A operator()(A g, A e) const { return g * inverse_sigma - along * e; }
};

template <class A>
struct SpectralSecond {
  A inverse_sigma, h_e, outer;  // 1/σ, ⟨H, E⟩/σ², and E's factor

  FASTGAN_HD SpectralSecond(A sigma, A g_w, A sum_h_e, A h_g)
      : inverse_sigma(A(1) / sigma),
        h_e(sum_h_e / sigma / sigma),
        outer(A(2) * (g_w / sigma) * h_e - h_g / sigma / sigma) {}

  FASTGAN_HD A grad_grad_output(A h, A w) const { return h * inverse_sigma - h_e * w; }
  FASTGAN_HD A grad_weight(A g, A e) const { return outer * e - h_e * g; }
};

}  // namespace fastgan
