// Sixteen bytes at a time: what a thread of a memory-bound kernel loads, computes on and stores.
#pragma once

#include "../common/numeric.h"

namespace fastgan {

using int64 = long long;

// Packs a thread keeps in flight: with 16 bytes each from every thread of a full SM, enough to cover DRAM's latency.
constexpr int kInFlight = 2;

template <class T>
struct Pack {
  static constexpr int size = 16 / sizeof(T);
  T at[size];
};

// The first `count` elements (at most a pack) from `from`; the others are zero. `aligned` promises that `from` is, and
// must be the same for all threads.
template <class T>
__device__ __forceinline__ Pack<T> load_pack(const T* __restrict__ from, int64 count, bool aligned) {
  if (aligned && count >= Pack<T>::size) return bit_cast<Pack<T>>(*reinterpret_cast<const uint4*>(from));
  Pack<T> pack;
#pragma unroll
  for (int k = 0; k < Pack<T>::size; ++k) pack.at[k] = k < count ? from[k] : T{};
  return pack;
}

template <class T>
__device__ __forceinline__ void store_pack(T* __restrict__ to, const Pack<T>& pack, int64 count, bool aligned) {
  if (aligned && count >= Pack<T>::size) {
    *reinterpret_cast<uint4*>(to) = bit_cast<uint4>(pack);
    return;
  }
#pragma unroll
  for (int k = 0; k < Pack<T>::size; ++k)
    if (k < count) to[k] = pack.at[k];
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
