// Shared memory whose size the launch decides.
#pragma once

namespace fastgan {

template <class T>
__device__ __forceinline__ T* dynamic_shared() {
#if defined(__CUDACC__)
  extern __shared__ __align__(16) unsigned char fastgan_shared_bytes[];
  return reinterpret_cast<T*>(fastgan_shared_bytes);
#else
  CUEMU_DYNAMIC_SHARED(T, elements);
  return elements;
#endif
}

}  // namespace fastgan
