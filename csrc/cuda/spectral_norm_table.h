// The tables of weights that spectral_norm's kernels get by value, and how a block finds its part in them. The launcher
// writes the same structs as NumPy dtypes.
#pragma once

#include "pack.h"

namespace fastgan {

constexpr int kForwardLayers = 27;  // in a table, so that a launch's parameters take at most 4 KB; the launcher's too
constexpr int kBackwardLayers = 33;

enum { kU = 0, kV = 1 };  // which vector; also the place of a pair's halves

struct Walk {
  int64 segments, units, length;
  int period;  // divides the length; the number of segments is 1 where it is not 1
  int x_is_u;

  __device__ __forceinline__ int64 numel() const { return segments * units * length; }

  // The length of u or v.
  __device__ __forceinline__ int64 entries(int which) const {
    return (which == kU) == (x_is_u != 0) ? units * period : segments * length / period;
  }
};

struct ForwardLayer {
  const void *weight, *vectors[2];
  void *output, *sigma, *new_vectors[2];  // no output: null
  void* products[2];                      // W v and Wᵀ u, of the accumulating type
  double* squares[2];                     // their sums of squares, one for each block
  Walk walk;
  int team, lanes;  // threads that sum over a unit, threads that share a unit's part of a tile
  int first[3];     // block of the launches that make u, make v, and finish
};

struct ForwardTable {
  ForwardLayer layers[kForwardLayers + 1];  // after the last one, `first` holds the numbers of blocks
  int count;

  __device__ __forceinline__ int first(int layer, int launch) const { return layers[layer].first[launch]; }
};

struct BackwardLayer {
  const void *grad_grad_weight, *grad_output, *weight, *sigma, *vectors[2];  // first derivative: no grad_grad_weight,
  void *grad_grad_output, *grad_weight;                                      // no grad_grad_output
  double* partial;                                                           // [sums, blocks]
  Walk walk;
  int lanes, chunk;  // threads that share a unit's part of a tile, units of a tile
  int first;
};

struct BackwardTable {
  BackwardLayer layers[kBackwardLayers + 1];
  int count;

  __device__ __forceinline__ int first(int layer, int) const { return layers[layer].first; }
};

static_assert(sizeof(ForwardTable) + 16 <= 4096 && sizeof(BackwardTable) <= 4096,
              "kernel parameters take 4 KB at most");

// The layer that this block works on, its number in the layer, and the layer's number of blocks.
struct Share {
  int layer, block, blocks;

  template <class Table>
  __device__ __forceinline__ Share(const Table& table, int launch) {
    const int b = blockIdx.x;
    int low = 0, high = table.count;
    while (high - low > 1) {
      const int middle = (low + high) / 2;
      if (table.first(middle, launch) <= b)
        low = middle;
      else
        high = middle;
    }
    layer = low;
    block = b - table.first(low, launch);
    blocks = table.first(low + 1, launch) - table.first(low, launch);
  }
};

}  // namespace fastgan
