// Kernels for the emulation's own tests: right ones, and ones with a mistake that it must show.
#include "../../csrc/cuda/reduce.h"

struct Pair {
  const float* from;
  float factor;
};

struct Table {
  Pair pairs[3];
  char letter;
};

extern "C" __global__ void reverse(const float* x, float* y) {
  __shared__ float s[256];
  s[threadIdx.x] = x[threadIdx.x];
  __syncthreads();
  y[threadIdx.x] = s[blockDim.x - 1 - threadIdx.x];
}

extern "C" __global__ void reverse_without_barrier(const float* x, float* y) {
  __shared__ float s[256];
  s[threadIdx.x] = x[threadIdx.x];
  y[threadIdx.x] = s[blockDim.x - 1 - threadIdx.x];
}

extern "C" __global__ void reverse_dynamic(const float* x, float* y) {
  CUEMU_DYNAMIC_SHARED(float, s);
  s[threadIdx.x] = x[threadIdx.x];
  __syncthreads();
  y[threadIdx.x] = s[blockDim.x - 1 - threadIdx.x];
}

// Reads its neighbour's value where only __syncwarp would make it sure to be there.
extern "C" __global__ void rotate_without_syncwarp(const float* x, float* y) {
  __shared__ float s[32];
  s[threadIdx.x] = x[threadIdx.x];
  y[threadIdx.x] = s[(threadIdx.x + 1) % 32];
}

extern "C" __global__ void rotate(const float* x, float* y) {
  __shared__ float s[32];
  s[threadIdx.x] = x[threadIdx.x];
  __syncwarp();
  y[threadIdx.x] = s[(threadIdx.x + 1) % 32];
}

extern "C" __global__ void half_a_barrier(float* y) {
  if (threadIdx.x < 40) __syncthreads();
  if (threadIdx.x >= 40) __shfl_sync(0xffffffffu, 0, 0);
  y[threadIdx.x] = 1;
}

extern "C" __global__ void shuffle_from_outside(float* y) {
  if (threadIdx.x < 16) y[threadIdx.x] = __shfl_down_sync(0xffffu, 1.0f, 8);
}

// The last block overwrites: the result depends on the order of blocks.
extern "C" __global__ void last_block_wins(float* y) { y[0] = float(blockIdx.x); }

extern "C" __global__ void copy(const float* x, float* y, int n) {
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < n) y[i] = x[i];
}

extern "C" __global__ void copy_one_too_many(const float* x, float* y, int n) {
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i <= n) y[i] = i < n ? x[i] : 0;
}

extern "C" __global__ void copy_from_one_before(const float* x, float* y, int n) {
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < n) y[i] = x[i - 1];
}

extern "C" __global__ void collectives(const int* x, int* y) {
  const int lane = threadIdx.x % 32, v = x[threadIdx.x];
  int* out = y + 8 * threadIdx.x;
  out[0] = __shfl_sync(~0u, v, 5);
  out[1] = __shfl_down_sync(~0u, v, 3);
  out[2] = __shfl_up_sync(~0u, v, 3);
  out[3] = __shfl_xor_sync(~0u, v, 1, 16);
  out[4] = __ballot_sync(~0u, lane % 3 == 0);
  out[5] = 2 * __any_sync(~0u, lane == 7) + __all_sync(~0u, lane == 7);
  out[6] = __syncthreads_count(threadIdx.x < 40);
  out[7] = 2 * __syncthreads_or(threadIdx.x == 40) + __syncthreads_and(threadIdx.x < 40);
}

// Lanes of a warp in two groups, and threads that have returned before a barrier.
extern "C" __global__ void groups(int* y) {
  if (threadIdx.x >= 48) return;
  const bool low = threadIdx.x % 32 < 16;
  int v = threadIdx.x;
  if (low)
    v = __shfl_sync(0x0000ffffu, v, 3);
  else
    v = __shfl_sync(0xffff0000u, v, 17);
  __syncthreads();
  y[threadIdx.x] = v;
}

extern "C" __global__ void sum(const float* x, float* y, int* count) {
  __shared__ float scratch[8];
  const float total = fastgan::block_sum(x[blockIdx.x * blockDim.x + threadIdx.x], scratch);
  if (threadIdx.x == 0) y[blockIdx.x] = total;
  atomicAdd(count, 1);
}

// A table by value, indexed by the block.
extern "C" __global__ void scale(const __grid_constant__ Table table, float* y, int n) {
  const Pair& pair = table.pairs[blockIdx.x];
  const bool last = table.letter == 'z' && blockIdx.x == gridDim.x - 1;
  if (threadIdx.x < n) y[blockIdx.x * n + threadIdx.x] = last ? 0 : pair.factor * pair.from[threadIdx.x];
}
