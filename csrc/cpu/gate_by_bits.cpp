#include "gate_by_bits.h"

#include <bit>
#include <cstring>

#include "fresh_memory.h"
#include "ranges.h"

namespace fastgan {
namespace {

static_assert(std::endian::native == std::endian::little, "eight flags are packed as one little-endian number");

// Flags are made and read as bytes, which vector instructions compare and select by, so many at a time.
constexpr int64_t kBlock = 512;

FASTGAN_HD bool above_zero(float x) { return x > 0; }
FASTGAN_HD bool above_zero(double x) { return x > 0; }
// A positive number is one up to infinity as a signed integer too, and no NaN.
FASTGAN_HD bool above_zero(Half x) { return short(x.bits) > 0 && short(x.bits) <= 0x7c00; }
FASTGAN_HD bool above_zero(BFloat16 x) { return short(x.bits) > 0 && short(x.bits) <= 0x7f80; }

// Byte k of flags, 0 or 1, as bit k: of its products with the powers of 2 here only those reach the highest byte.
FASTGAN_HD uint8_t packed(uint64_t flags) { return static_cast<uint8_t>(flags * 0x0102040810204080u >> 56); }

// The inverse. Byte k first keeps bit k alone, which then carries into bit 7.
FASTGAN_HD uint64_t spread(uint8_t bits) {
  const uint64_t alone = bits * 0x0101010101010101u & 0x8040201008040201u;
  return (alone + 0x7f7f7f7f7f7f7f7fu) >> 7 & 0x0101010101010101u;
}

template <class T>
void pack(const GateByBitsCall& call, const T* input, uint8_t* bits) {
  for_ranges(call.total, call.threads, [&](int64_t begin, int64_t end) {
    alignas(64) uint8_t flags[kBlock];
    for (int64_t first = begin; first < end; first += kBlock) {
      const int64_t count = std::min(kBlock, end - first);
      const T* x = input + first;
#pragma omp simd
      for (int64_t i = 0; i < count; ++i) flags[i] = above_zero(x[i]);
      for (int64_t i = count; i % 8; ++i) flags[i] = 0;
      uint8_t* target = bits + first / 8;
      for (int64_t i = 0; i < (count + 7) / 8; ++i) {
        uint64_t eight;
        std::memcpy(&eight, flags + 8 * i, 8);
        target[i] = packed(eight);
      }
    }
  });
}

// `zero` where the slope below is 0: nothing of the input is left then, not even infinity's NaN.
template <bool zero, class T>
void gate(const GateByBitsCall& call, const T* input, const uint8_t* bits, accumulator_t<T> above,
          accumulator_t<T> below, T* output) {
  for_ranges(call.total, call.threads, [&](int64_t begin, int64_t end) {
    FreshMemory fresh(output, begin, call.total);
    alignas(64) uint8_t flags[kBlock];
    for (int64_t first = begin; first < end; first += kBlock) {
      const int64_t count = std::min(kBlock, end - first);
      fresh.reach(first + count);
      const uint8_t* source = bits + first / 8;
      for (int64_t i = 0; i < (count + 7) / 8; ++i) {
        const uint64_t eight = spread(source[i]);
        std::memcpy(flags + 8 * i, &eight, 8);
      }
      const T* x = input + first;
      T* y = output + first;
#pragma omp simd
      for (int64_t i = 0; i < count; ++i) {
        const accumulator_t<T> value = load(x[i]), high = above * value, low = zero ? 0 : below * value;
        y[i] = Store<T>::from(flags[i] ? high : low);
      }
    }
  });
}

}  // namespace

void sign_bits(const GateByBitsCall& call, const void* input, void* bits) {
  with_dtype(call.dtype,
             [&](auto zero) { pack(call, static_cast<const decltype(zero)*>(input), static_cast<uint8_t*>(bits)); });
}

void gate_by_bits(const GateByBitsCall& call, const void* input, const void* bits, double alpha, double gain,
                  void* output) {
  with_dtype(call.dtype, [&](auto zero) {
    using T = decltype(zero);
    const T* x = static_cast<const T*>(input);
    const uint8_t* flags = static_cast<const uint8_t*>(bits);
    T* y = static_cast<T*>(output);
    const auto above = static_cast<accumulator_t<T>>(gain), below = static_cast<accumulator_t<T>>(gain * alpha);
    if (alpha == 0) {
      gate<true>(call, x, flags, above, below, y);
    } else {
      gate<false>(call, x, flags, above, below, y);
    }
  });
}

}  // namespace fastgan
