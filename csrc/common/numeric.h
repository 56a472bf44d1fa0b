// Storage types and their conversions, for CPU and CUDA kernels. Everything is branch-free, so that a loop over it
// vectorises; no header is included, so that NVRTC compiles it on a machine without a CUDA toolkit.
#pragma once

#if defined(__CUDACC__)
#define FASTGAN_HD __host__ __device__ __forceinline__
#elif defined(__GNUC__)
#define FASTGAN_HD inline __attribute__((always_inline))
#else
#define FASTGAN_HD inline
#endif

namespace fastgan {

struct Half {
  unsigned short bits;
};

struct BFloat16 {
  unsigned short bits;
};

// What a storage type is computed in.
template <class T>
struct Accumulator {
  using type = float;
};
template <>
struct Accumulator<double> {
  using type = double;
};
template <class T>
using accumulator_t = typename Accumulator<T>::type;

template <class To, class From>
FASTGAN_HD To bit_cast(From from) {
  static_assert(sizeof(To) == sizeof(From), "bit_cast needs equal sizes");
  return __builtin_bit_cast(To, from);
}

FASTGAN_HD float half_bits_to_float(unsigned short half) {
  const unsigned magnitude = (half & 0x7fffu) << 13;
  // Rebiasing the exponent by a product is right for subnormals too.
  unsigned bits = bit_cast<unsigned>(bit_cast<float>(magnitude) * bit_cast<float>(0x77800000u));  // 2^112
  bits |= magnitude >= 0x0f800000u ? 0x7f800000u : 0u;                                            // infinity and NaN
  return bit_cast<float>(bits | (half & 0x8000u) << 16);
}

FASTGAN_HD unsigned short float_to_half_bits(float value) {  // rounds to nearest even
  const unsigned bits = bit_cast<unsigned>(value);
  const unsigned sign = bits & 0x80000000u;
  const unsigned magnitude = bits ^ sign;
  const unsigned normal = (magnitude + 0xc8000fffu + (magnitude >> 13 & 1u)) >> 13;  // exponent - 112, then round
  const float shift = bit_cast<float>(0x3f000000u);                                  // aligns a subnormal's last bit
  const unsigned subnormal = bit_cast<unsigned>(bit_cast<float>(magnitude) + shift) - 0x3f000000u;
  const unsigned special = magnitude > 0x7f800000u ? 0x7e00u : 0x7c00u;
  const unsigned finite = magnitude < 0x38800000u ? subnormal : normal;
  return static_cast<unsigned short>((magnitude >= 0x47800000u ? special : finite) | sign >> 16);
}

FASTGAN_HD float bfloat16_bits_to_float(unsigned short value) {
  return bit_cast<float>(static_cast<unsigned>(value) << 16);
}

FASTGAN_HD unsigned short float_to_bfloat16_bits(float value) {  // rounds to nearest even
  const unsigned bits = bit_cast<unsigned>(value);
  const unsigned rounded = (bits + 0x7fffu + (bits >> 16 & 1u)) >> 16;
  const unsigned nan = (bits >> 16 & 0x8000u) | 0x7fc0u;
  return static_cast<unsigned short>((bits & 0x7fffffffu) > 0x7f800000u ? nan : rounded);
}

FASTGAN_HD float load(float value) { return value; }
FASTGAN_HD double load(double value) { return value; }
FASTGAN_HD float load(BFloat16 value) { return bfloat16_bits_to_float(value.bits); }

template <class T>
struct Store {
  static FASTGAN_HD T from(T value) { return value; }
};
template <>
struct Store<BFloat16> {
  static FASTGAN_HD BFloat16 from(float value) { return {float_to_bfloat16_bits(value)}; }
};

// The GPU converts fp16 in one instruction, reached here without cuda_fp16.h.
#if defined(__CUDA_ARCH__)
FASTGAN_HD float load(Half value) {
  float result;
  asm("cvt.f32.f16 %0, %1;" : "=f"(result) : "h"(value.bits));
  return result;
}
template <>
struct Store<Half> {
  static FASTGAN_HD Half from(float value) {
    Half result;
    asm("cvt.rn.f16.f32 %0, %1;" : "=h"(result.bits) : "f"(value));
    return result;
  }
};
#else
FASTGAN_HD float load(Half value) { return half_bits_to_float(value.bits); }
template <>
struct Store<Half> {
  static FASTGAN_HD Half from(float value) { return {float_to_half_bits(value)}; }
};
#endif

// Rounds to T and back: how a bound looks once it is stored.
template <class T>
FASTGAN_HD accumulator_t<T> round_to(accumulator_t<T> value) {
  return load(Store<T>::from(value));
}

}  // namespace fastgan
