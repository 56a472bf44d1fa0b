// exp, expm1 and log1p on the ranges activations need: arguments of exp and expm1 are never positive, those of log1p
// lie in [0, 1]. On the CPU they are short polynomials that vectorise (libm's are scalar calls); error at most 2 ulp in
// float and double, measured by tests/ops/test_bias_act.py; what would be subnormal is 0. CUDA has fast ones of its
// own.
#pragma once

#include "numeric.h"

namespace fastgan {

template <class A>
FASTGAN_HD A absolute(A x) {
  return x < A(0) ? -x : x;
}

#if defined(__CUDA_ARCH__)

FASTGAN_HD float exp_nonpositive(float x) { return expf(x); }
FASTGAN_HD double exp_nonpositive(double x) { return exp(x); }
FASTGAN_HD float expm1_nonpositive(float x) { return expm1f(x); }
FASTGAN_HD double expm1_nonpositive(double x) { return expm1(x); }
FASTGAN_HD float log1p_unit(float x) { return log1pf(x); }
FASTGAN_HD double log1p_unit(double x) { return log1p(x); }

#else

template <class A>
struct Exponential;

template <>
struct Exponential<float> {
  static constexpr int taylor = 7;       // |r| <= ln(2)/2: the first term left out is below 2^-25 r
  static constexpr int atanh_terms = 7;  // s^2 <= 1/9
  static constexpr float lowest = -87.33654f;
  static constexpr float magic = 12582912.0f;  // 1.5 * 2^23: adding it rounds to an integer, kept in the low bits
  static constexpr float ln2_high = 0.693145751953125f, ln2_low = 1.42860682030941723212e-6f;
  static FASTGAN_HD float power_of_two(float shifted) {
    return bit_cast<float>((bit_cast<unsigned>(shifted) << 23) + 0x3f800000u);
  }
};

template <>
struct Exponential<double> {
  static constexpr int taylor = 14;
  static constexpr int atanh_terms = 17;
  static constexpr double lowest = -708.3964185;
  static constexpr double magic = 6755399441055744.0;  // 1.5 * 2^52
  static constexpr double ln2_high = 0.693147180369123816490, ln2_low = 1.90821492927058770002e-10;
  static FASTGAN_HD double power_of_two(double shifted) {
    return bit_cast<double>((bit_cast<unsigned long long>(shifted) << 52) + 0x3ff0000000000000ull);
  }
};

template <class A>
struct Taylor {
  A coefficient[Exponential<A>::taylor + 1];  // 1 / k!
  constexpr Taylor() : coefficient{} {
    double factorial = 1;
    coefficient[0] = A(1);
    for (int k = 1; k <= Exponential<A>::taylor; ++k) coefficient[k] = A(1 / (factorial *= k));
  }
};

// x = n ln 2 + r: returns 2^n and expm1(r).
template <class A>
FASTGAN_HD A reduced_expm1(A x, A& power) {
  using E = Exponential<A>;
  x = x < E::lowest ? E::lowest : x;
  const A shifted = x * A(1.44269504088896340736) + E::magic;
  const A n = shifted - E::magic;
  const A r = (x - n * E::ln2_high) - n * E::ln2_low;
  constexpr Taylor<A> taylor;
  A sum = taylor.coefficient[E::taylor];
  for (int k = E::taylor - 1; k >= 1; --k) sum = sum * r + taylor.coefficient[k];
  power = E::power_of_two(shifted);
  return sum * r;
}

template <class A>
FASTGAN_HD A exp_nonpositive(A x) {
  A power;
  const A part = reduced_expm1(x, power);
  return x < Exponential<A>::lowest ? A(0) : power + power * part;  // no subnormal results
}

template <class A>
FASTGAN_HD A expm1_nonpositive(A x) {
  A power;
  const A part = reduced_expm1(x, power);
  return power * part + (power - A(1));
}

// log1p(x) = 2 atanh(s), s = x / (2 + x)
template <class A>
FASTGAN_HD A log1p_unit(A x) {
  const A s = x / (A(2) + x), s2 = s * s;
  A sum = A(0);
  for (int k = Exponential<A>::atanh_terms; k >= 1; --k) sum = sum * s2 + A(1) / A(2 * k + 1);
  return A(2) * (s + s * (s2 * sum));
}

#endif

template <class A>
FASTGAN_HD A sigmoid(A x) {
  const A e = exp_nonpositive(-absolute(x));
  const A upper = A(1) / (A(1) + e);
  return x < A(0) ? e * upper : upper;
}

template <class A>
FASTGAN_HD A hyperbolic_tangent(A x) {
  const A e = expm1_nonpositive(A(-2) * absolute(x));
  const A magnitude = -e / (A(2) + e);
  return x < A(0) ? -magnitude : magnitude;
}

}  // namespace fastgan
