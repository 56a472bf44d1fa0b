// The transform of a polynomial product of four coefficients with two, of degree 4, by evaluation at ±3/8, ±5/4 and
// infinity, and its adjoints. Of the pairs of eighths up to 2, with 0 or infinity for a fifth point, these have about
// the smallest error.
#pragma once

#include "winograd_transforms.h"

namespace fastgan::winograd {

struct TwoTaps {
  static constexpr int kPoints = 5;
  static constexpr float a = 0.375f, b = 1.25f, a2 = a * a, b2 = b * b, a3 = a2 * a, b3 = b2 * b;
  // Half of 1 / (b² - a²): what the product's coefficients are divided by, in the weight.
  static constexpr float half = float(0.5 / (double(b2) - double(a2)));
  static constexpr float by_a = float(1.0 / double(a)), by_b = float(1.0 / double(b));

  static inline void input(const Vector* x, Vector* v) {  // 4 to 5
    const Vector even_a = x[0] + a2 * x[2], odd_a = a * (x[1] + a2 * x[3]);
    v[0] = even_a + odd_a;
    v[1] = even_a - odd_a;
    const Vector even_b = x[0] + b2 * x[2], odd_b = b * (x[1] + b2 * x[3]);
    v[2] = even_b + odd_b;
    v[3] = even_b - odd_b;
    v[4] = x[3];
  }

  static inline void input_adjoint(const Vector* v, Vector* x) {  // 5 to 4
    const Vector even_a = v[0] + v[1], odd_a = v[0] - v[1], even_b = v[2] + v[3], odd_b = v[2] - v[3];
    x[0] = even_a + even_b;
    x[1] = a * odd_a + b * odd_b;
    x[2] = a2 * even_a + b2 * even_b;
    x[3] = a3 * odd_a + (b3 * odd_b + v[4]);
  }

  static inline void weight(const Vector* w, Vector* u) {  // 2 to 5
    const Vector even = half * w[0], odd_a = (half * a) * w[1], odd_b = (half * b) * w[1];
    u[0] = even + odd_a;
    u[1] = even - odd_a;
    u[2] = even + odd_b;
    u[3] = even - odd_b;
    u[4] = w[1];
  }

  static inline void weight_adjoint(const Vector* u, Vector* w) {  // 5 to 2
    w[0] = half * ((u[0] + u[1]) + (u[2] + u[3]));
    w[1] = (half * a) * (u[0] - u[1]) + ((half * b) * (u[2] - u[3]) + u[4]);
  }

  static inline void output(const Vector* m, Vector* t) {  // 5 to 5
    const Vector even_a = m[0] + m[1], odd_a = by_a * (m[0] - m[1]);
    const Vector even_b = m[2] + m[3], odd_b = by_b * (m[2] - m[3]);
    t[0] = (b2 * even_a - a2 * even_b) + (a2 * b2) * m[4];
    t[1] = b2 * odd_a - a2 * odd_b;
    t[2] = (even_b - even_a) - (a2 + b2) * m[4];
    t[3] = odd_b - odd_a;
    t[4] = m[4];
  }

  static inline void output_adjoint(const Vector* t, Vector* m) {  // 5 to 5
    const Vector even_a = b2 * t[0] - t[2], odd_a = by_a * (b2 * t[1] - t[3]);
    m[0] = even_a + odd_a;
    m[1] = even_a - odd_a;
    const Vector even_b = t[2] - a2 * t[0], odd_b = by_b * (t[3] - a2 * t[1]);
    m[2] = even_b + odd_b;
    m[3] = even_b - odd_b;
    m[4] = ((a2 * b2) * t[0] - (a2 + b2) * t[2]) + t[4];
  }
};

// Applies a transform from kIn to kOut numbers along rows (or columns, by the strides) of a matrix.
template <int kLines, int kIn, int kOut, class Function>
inline void along(Function function, const Vector* from, int from_line, int from_step, Vector* to, int to_line,
                  int to_step) {
  FASTGAN_UNROLL
  for (int line = 0; line < kLines; ++line) {
    Vector in[kIn], out[kOut];
    FASTGAN_UNROLL
    for (int i = 0; i < kIn; ++i) in[i] = from[line * from_line + i * from_step];
    function(in, out);
    FASTGAN_UNROLL
    for (int i = 0; i < kOut; ++i) to[line * to_line + i * to_step] = out[i];
  }
}

}  // namespace fastgan::winograd
