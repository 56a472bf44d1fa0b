// Sixteen bytes at a time: what a thread of a memory-bound kernel loads, computes on and stores.
#pragma once

#include "../common/numeric.h"

namespace fastgan {

using int64 = long long;

template <class T>
struct Pack {
  static constexpr int size = 16 / sizeof(T);
  T at[size];
};

// The `count` elements (at most a pack, none where it is negative) of `tensor` from `at` on; the pack's others are
// zero. `aligned` promises that whole packs lie at multiples of sixteen bytes.
template <class T>
__device__ __forceinline__ Pack<T> load_pack(const T* tensor, int64 at, int64 count, bool aligned) {
  if (aligned && count >= Pack<T>::size) return bit_cast<Pack<T>>(*reinterpret_cast<const uint4*>(tensor + at));
  Pack<T> pack;
#pragma unroll
  for (int k = 0; k < Pack<T>::size; ++k) pack.at[k] = k < count ? tensor[at + k] : T{};
  return pack;
}

__device__ __forceinline__ void store_16_bytes(void* to, uint4 value) {
#if defined(__CUDA_ARCH__)
  // nvcc cuts an ordinary store up, to share its first piece with the branch that stores element by element.
  asm volatile("st.global.v4.u32 [%0], {%1, %2, %3, %4};" ::"l"(__cvta_generic_to_global(to)), "r"(value.x),
               "r"(value.y), "r"(value.z), "r"(value.w)
               : "memory");
#else
  *static_cast<uint4*>(to) = value;
#endif
}

template <class T>
__device__ __forceinline__ void store_pack(T* tensor, int64 at, const Pack<T>& pack, int64 count, bool aligned) {
  if (aligned && count >= Pack<T>::size) {
    store_16_bytes(tensor + at, bit_cast<uint4>(pack));
    return;
  }
#pragma unroll
  for (int k = 0; k < Pack<T>::size; ++k)
    if (k < count) tensor[at + k] = pack.at[k];
}

// Where an element lies in a tensor whose element i has channel (i / inner) % channels. Moving on by a step that was
// itself written as such a position takes additions only: no division inside a loop.
struct Position {
  int64 column, channel;  // i % inner, (i / inner) % channels

  __device__ __forceinline__ static Position of(int64 element, int64 channels, int64 inner) {
    const int64 row = element / inner;
    return {element - row * inner, row % channels};
  }

  __device__ __forceinline__ void advance(const Position& step, int64 channels, int64 inner) {
    column += step.column;
    channel += step.channel;
    if (column >= inner) {
      column -= inner;
      ++channel;
    }
    if (channel >= channels) channel -= channels;
  }
};

}  // namespace fastgan
