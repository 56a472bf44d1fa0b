// The transforms of F(4,3) and F(2,3) in one dimension, and their application to both.
//
// An output of m pixels of a correlation with 3 taps is y = Aᵀ[(G g) ∘ (Bᵀ d)] for m + 2 pixels d and taps g, by
// evaluation at m + 1 points and at infinity (A. Lavin, S. Gray, "Fast Algorithms for Convolutional Neural Networks",
// CVPR 2016). The gradient of the taps is Gᵀ[(Bᵀ d) ∘ (A ȳ)].
//
// Points come in pairs ±p, so that both share the sums over even and over odd powers. For F(4,3), 5/8 and 3/2 have the
// smallest error of all pairs of eighths up to 2; all coefficients of A and B are then exact in binary.
#pragma once

#include "winograd_vector.h"

namespace fastgan::winograd {

#define FASTGAN_UNROLL _Pragma("GCC unroll 8")

template <int kOutputs>
struct Transform;

template <>
struct Transform<4> {
  static constexpr float a = 0.625f, b = 1.5f, a2 = a * a, b2 = b * b, a3 = a2 * a, b3 = b2 * b;
  // 1 / Π(p - q) over the other points q.
  static constexpr float at_0 = float(1.0 / (double(a2) * b2));
  static constexpr float at_a = float(0.5 / (double(a2) * (double(a2) - b2)));
  static constexpr float at_b = float(0.5 / (double(b2) * (double(b2) - a2)));

  static inline void input(const Vector* d, Vector* v) {  // Bᵀ: 6 to 6
    v[0] = a2 * b2 * d[0] + (d[4] - (a2 + b2) * d[2]);
    const Vector even_a = d[4] - b2 * d[2], odd_a = a * (d[3] - b2 * d[1]);
    v[1] = even_a + odd_a;
    v[2] = even_a - odd_a;
    const Vector even_b = d[4] - a2 * d[2], odd_b = b * (d[3] - a2 * d[1]);
    v[3] = even_b + odd_b;
    v[4] = even_b - odd_b;
    v[5] = a2 * b2 * d[1] + (d[5] - (a2 + b2) * d[3]);
  }

  static inline void output(const Vector* m, Vector* y) {  // Aᵀ: 6 to 4
    const Vector even_a = m[1] + m[2], odd_a = m[1] - m[2], even_b = m[3] + m[4], odd_b = m[3] - m[4];
    y[0] = m[0] + (even_a + even_b);
    y[1] = a * odd_a + b * odd_b;
    y[2] = a2 * even_a + b2 * even_b;
    y[3] = a3 * odd_a + (b3 * odd_b + m[5]);
  }

  static inline void weight(const Vector* g, Vector* u) {  // G: 3 to 6
    u[0] = at_0 * g[0];
    const Vector even_a = at_a * (g[0] + a2 * g[2]), odd_a = at_a * a * g[1];
    u[1] = even_a + odd_a;
    u[2] = even_a - odd_a;
    const Vector even_b = at_b * (g[0] + b2 * g[2]), odd_b = at_b * b * g[1];
    u[3] = even_b + odd_b;
    u[4] = even_b - odd_b;
    u[5] = g[2];
  }

  static inline void output_gradient(const Vector* y, Vector* m) {  // A: 4 to 6
    m[0] = y[0];
    const Vector even_a = y[0] + a2 * y[2], odd_a = a * y[1] + a3 * y[3];
    m[1] = even_a + odd_a;
    m[2] = even_a - odd_a;
    const Vector even_b = y[0] + b2 * y[2], odd_b = b * y[1] + b3 * y[3];
    m[3] = even_b + odd_b;
    m[4] = even_b - odd_b;
    m[5] = y[3];
  }

  static inline void weight_gradient(const Vector* u, Vector* g) {  // Gᵀ: 6 to 3
    const Vector even_a = at_a * (u[1] + u[2]), even_b = at_b * (u[3] + u[4]);
    g[0] = at_0 * u[0] + (even_a + even_b);
    g[1] = at_a * a * (u[1] - u[2]) + at_b * b * (u[3] - u[4]);
    g[2] = a2 * even_a + (b2 * even_b + u[5]);
  }
};

template <>
struct Transform<2> {  // points 0, ±1
  static inline void input(const Vector* d, Vector* v) {
    v[0] = d[0] - d[2];
    v[1] = d[2] + d[1];
    v[2] = d[2] - d[1];
    v[3] = d[3] - d[1];
  }

  static inline void output(const Vector* m, Vector* y) {
    y[0] = m[0] + (m[1] + m[2]);
    y[1] = (m[1] - m[2]) + m[3];
  }

  static inline void weight(const Vector* g, Vector* u) {
    const Vector even = 0.5f * (g[0] + g[2]), odd = 0.5f * g[1];
    u[0] = g[0];
    u[1] = even + odd;
    u[2] = even - odd;
    u[3] = g[2];
  }

  static inline void output_gradient(const Vector* y, Vector* m) {
    m[0] = y[0];
    m[1] = y[0] + y[1];
    m[2] = y[0] - y[1];
    m[3] = y[1];
  }

  static inline void weight_gradient(const Vector* u, Vector* g) {
    const Vector even = 0.5f * (u[1] + u[2]);
    g[0] = u[0] + even;
    g[1] = 0.5f * (u[1] - u[2]);
    g[2] = even + u[3];
  }
};

// Applies a transform from `kIn` to `kOut` to the columns of d [kIn][kIn], and then to the rows of what that gives.
template <int kIn, int kOut, class Function>
inline void in_both_dimensions(Function function, const Vector* d, Vector* result) {
  Vector half[kOut * kIn], column[kIn], transformed[kOut];
  FASTGAN_UNROLL
  for (int j = 0; j < kIn; ++j) {
    FASTGAN_UNROLL
    for (int i = 0; i < kIn; ++i) column[i] = d[i * kIn + j];
    function(column, transformed);
    FASTGAN_UNROLL
    for (int i = 0; i < kOut; ++i) half[i * kIn + j] = transformed[i];
  }
  FASTGAN_UNROLL
  for (int i = 0; i < kOut; ++i) function(half + i * kIn, result + i * kOut);
}

}  // namespace fastgan::winograd
