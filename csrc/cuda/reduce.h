// Sums over a block, in an order that depends on nothing but the block's size.
#pragma once

namespace fastgan {

// The sum of `value` over the block, in thread 0. `scratch` is shared and has an element for each warp. The block's
// size is a multiple of 32.
template <class A>
__device__ __forceinline__ A block_sum(A value, A* scratch) {
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32, warps = blockDim.x / 32;
#pragma unroll
  for (int offset = 16; offset > 0; offset /= 2) value += __shfl_down_sync(0xffffffffu, value, offset);
  if (lane == 0) scratch[warp] = value;
  __syncthreads();
  A total = A(0);
  if (threadIdx.x == 0)
    for (int w = 0; w < warps; ++w) total += scratch[w];
  return total;
}

}  // namespace fastgan
