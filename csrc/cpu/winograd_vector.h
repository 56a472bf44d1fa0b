// The widest vectors of floats that the ISA level has, by the compiler's own extension: one source for all levels.
#pragma once

#include <cstdint>
#include <cstring>

namespace fastgan::winograd {

#if defined(__AVX512F__)
constexpr int kLanes = 16, kRegisters = 32;
#elif defined(__AVX2__)
constexpr int kLanes = 8, kRegisters = 16;
#elif defined(__aarch64__)
constexpr int kLanes = 4, kRegisters = 32;
#else
constexpr int kLanes = 4, kRegisters = 16;
#endif

typedef float Vector __attribute__((vector_size(kLanes * sizeof(float))));
typedef int32_t Mask __attribute__((vector_size(kLanes * sizeof(float))));

inline Vector load(const float* p) {
  Vector v;
  std::memcpy(&v, p, sizeof v);
  return v;
}

inline void store(float* p, Vector v) { std::memcpy(p, &v, sizeof v); }

// The first `count` lanes; the others are zero.
inline Vector load_first(const float* p, int count) {
  if (count == kLanes) return load(p);
  float lanes[kLanes];
  for (int i = 0; i < kLanes; ++i) lanes[i] = i < count ? p[i] : 0.0f;
  return load(lanes);
}

inline void store_first(float* p, Vector v, int count) {
  if (count == kLanes) return store(p, v);
  float lanes[kLanes];
  store(lanes, v);
  for (int i = 0; i < kLanes; ++i)
    if (i < count) p[i] = lanes[i];
}

inline int64_t blocks_of(int64_t channels) { return (channels + kLanes - 1) / kLanes; }

}  // namespace fastgan::winograd
