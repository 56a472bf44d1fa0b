// symmetric_eigh: eigenvalues and eigenvectors of many small symmetric matrices, by Jacobi's method, a block each.
//
// Everything happens in shared memory: the lower triangle, packed, and the eigenvectors, a row each, that are so far. A
// sweep annihilates every element off the diagonal once, in the rounds of a round-robin tournament (Brent and Luk, "The
// Solution of Singular-Value and Symmetric Eigenvalue Problems on Multiprocessor Arrays", 1985): the n/2 pairs of a
// round have no coordinate in common, so their rotations are found at once, one a thread, and applied at once. Two
// pairs own the four elements where their rows and columns cross; whoever rotates these writes them in place, and
// nobody else reads them. Sums and rotations have a fixed order: the bits depend on nothing but the matrix.
//
// Sweeps end when all elements off the diagonal are negligible, or after kMostSweeps; the block decides that, not the
// host. In float64 it takes about 10 for eigenvalues that lie apart, and 20 where many of 128 agree.
#include "../common/symmetric_eigh_math.h"
#include "dynamic_shared.h"
#include "reduce.h"

namespace fastgan {

using int64 = long long;

// These are the launcher's too.
constexpr int kMostRows = 128;
constexpr int kMostThreads = 512;

constexpr int kMostSweeps = 30;

template <class T>
struct Scalar {
  static constexpr T epsilon = T(1) / (1 << 23);
  static constexpr int largest_exponent = 120;
};
template <>
struct Scalar<double> {
  static constexpr double epsilon = 1.0 / (1ll << 52);
  static constexpr int largest_exponent = 1000;
};

__device__ __forceinline__ float root(float x) { return sqrtf(x); }
__device__ __forceinline__ double root(double x) { return sqrt(x); }

// A sum over the block, in every thread.
template <class T>
__device__ __forceinline__ T block_total(T value, T* scratch) {
  value = block_sum(value, scratch);
  __syncthreads();
  if (threadIdx.x == 0) scratch[0] = value;
  __syncthreads();
  value = scratch[0];
  __syncthreads();
  return value;
}

// What the threads of a block share beside the matrices: the pairs of a round, their rotations, the order of results.
template <class T>
struct Tournament {
  int p[kMostRows / 2], q[kMostRows / 2];
  T s[kMostRows / 2], r[kMostRows / 2];
  int source[kMostRows];
  T scratch[kMostThreads / 32];

  __device__ __forceinline__ JacobiRotation<T> rotation(int pair) const { return {s[pair], r[pair], T(0)}; }
};

// A symmetric matrix as its lower triangle, row by row.
template <class T>
struct Triangle {
  T* at;
  __device__ __forceinline__ T& operator()(int i, int j) const {
    const int row = i > j ? i : j, col = i > j ? j : i;
    return at[row * (row + 1) / 2 + col];
  }
};

// The coordinates p < q that meet in a round of `players`, an even number: all but the last one go round.
__device__ __forceinline__ void meet(int round, int pair, int players, int& p, int& q) {
  const int circle = players - 1;
  int a = circle, b = round;
  if (pair > 0) {
    a = round + pair < circle ? round + pair : round + pair - circle;
    b = round >= pair ? round - pair : round - pair + circle;
  }
  p = a < b ? a : b;
  q = a < b ? b : a;
}

// Finds the pair's rotation, applies it to the pair's own three elements, and says whether there is one.
template <class T>
__device__ __forceinline__ bool annihilate(const Triangle<T>& a, int n, T negligible, int round, int pair, int players,
                                           Tournament<T>& shared) {
  int p, q;
  meet(round, pair, players, p, q);
  JacobiRotation<T> rotation{T(0), T(0), T(0)};
  bool rotates = false;
  if (q < n) {  // with an odd number, one of them has nobody to meet
    const T a_pq = a(q, p);
    if (fabs(a_pq) > negligible) {
      rotates = true;
      rotation = JacobiRotation<T>::annihilating(a(p, p), a(q, q), a_pq, [](T x) { return root(x); });
      a(p, p) -= rotation.t * a_pq;
      a(q, q) += rotation.t * a_pq;
      a(q, p) = T(0);
    }
  }
  shared.p[pair] = p;
  shared.q[pair] = q;
  shared.s[pair] = rotation.s;
  shared.r[pair] = rotation.r;
  return rotates;
}

// Rotates the elements where the rows of pair k and the columns of pair l cross.
template <class T>
__device__ __forceinline__ void rotate_crossing(const Triangle<T>& a, int n, int k, int l,
                                                const Tournament<T>& shared) {
  const JacobiRotation<T> rows = shared.rotation(k), cols = shared.rotation(l);
  if (rows.s == T(0) && cols.s == T(0)) return;
  const int pk = shared.p[k], qk = shared.q[k], pl = shared.p[l], ql = shared.q[l];
  T pp = a(pk, pl), pq = ql < n ? a(pk, ql) : T(0);
  T qp = qk < n ? a(qk, pl) : T(0), qq = qk < n && ql < n ? a(qk, ql) : T(0);
  rows.apply(pp, qp);
  rows.apply(pq, qq);
  cols.apply(pp, pq);
  cols.apply(qp, qq);
  a(pk, pl) = pp;
  if (ql < n) a(pk, ql) = pq;
  if (qk < n) a(qk, pl) = qp;
  if (qk < n && ql < n) a(qk, ql) = qq;
}

template <class T>
__device__ __forceinline__ void symmetric_eigh(const T* matrix, T* eigenvalues, T* eigenvectors, int n, T* memory,
                                               Tournament<T>& shared) {
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32, warps = blockDim.x / 32;
  const bool wanted = eigenvectors != nullptr;
  matrix += int64(blockIdx.x) * n * n;
  const Triangle<T> a{memory};
  T* const vectors = memory + n * (n + 1) / 2;
  const int stride = n | 1;  // odd, so that a column lies in as many banks as a row

  // Scaled by a power of two, no square of an element overflows, and a matrix of tiny elements loses no digits.
  T magnitude = T(0);
  for (int i = warp; i < n; i += warps)
    for (int j = lane; j <= i; j += 32) {
      a(i, j) = matrix[i * n + j];
      magnitude += fabs(a(i, j)) / (kMostRows * kMostRows);
    }
  magnitude = block_total(magnitude, shared.scratch);
  const T poison = magnitude - magnitude;  // zero, or NaN where an element is NaN or infinite
  int exponent = magnitude > T(0) ? ilogb(magnitude) : 0;
  exponent = exponent > Scalar<T>::largest_exponent ? Scalar<T>::largest_exponent : exponent;
  exponent = exponent < -Scalar<T>::largest_exponent ? -Scalar<T>::largest_exponent : exponent;
  const T scale = T(scalbn(T(1), -exponent)) + poison;
  T squares = T(0);
  for (int i = warp; i < n; i += warps)
    for (int j = lane; j <= i; j += 32) {
      a(i, j) *= scale;
      squares += (i == j ? T(1) : T(2)) * a(i, j) * a(i, j);
    }
  if (wanted)
    for (int i = warp; i < n; i += warps)
      for (int j = lane; j < n; j += 32) vectors[i * stride + j] = (i == j ? T(1) : T(0)) + poison;
  // What is left off the diagonal then is less than rounding of the norm.
  const T negligible = Scalar<T>::epsilon * root(block_total(squares, shared.scratch)) / n;

  const int players = n + n % 2, pairs = players / 2;
  for (int sweep = 0; sweep < kMostSweeps; ++sweep) {
    bool rotated = false;
    for (int round = 0; round < players - 1; ++round) {
      for (int pair = threadIdx.x; pair < pairs; pair += blockDim.x)
        rotated |= annihilate(a, n, negligible, round, pair, players, shared);
      __syncthreads();
      for (int k = warp; k < pairs; k += warps) {
        for (int l = lane; l < k; l += 32) rotate_crossing(a, n, k, l, shared);
        const JacobiRotation<T> rotation = shared.rotation(k);
        if (wanted && rotation.s != T(0))
          for (int i = lane; i < n; i += 32)
            rotation.apply(vectors[shared.p[k] * stride + i], vectors[shared.q[k] * stride + i]);
      }
      __syncthreads();
    }
    if (!__syncthreads_or(rotated)) break;
  }

  for (int i = threadIdx.x; i < n; i += blockDim.x) {
    const T value = a(i, i);
    int rank = 0;
    for (int j = 0; j < n; ++j) {
      const T other = a(j, j);
      rank += other < value || (!(value < other) && j < i);
    }
    shared.source[rank] = i;
    eigenvalues[int64(blockIdx.x) * n + rank] = value * T(scalbn(T(1), exponent));
  }
  if (!wanted) return;
  __syncthreads();
  eigenvectors += int64(blockIdx.x) * n * n;
  for (int i = warp; i < n; i += warps)
    for (int j = lane; j < n; j += 32) eigenvectors[i * n + j] = vectors[shared.source[j] * stride + i];
}

}  // namespace fastgan

#define SYMMETRIC_EIGH_KERNEL(name, T)                                                                      \
  extern "C" __global__ void __launch_bounds__(fastgan::kMostThreads)                                       \
      symmetric_eigh_kernel_##name(const T* matrix, T* eigenvalues, T* eigenvectors, int n) {               \
    __shared__ fastgan::Tournament<T> shared;                                                               \
    fastgan::symmetric_eigh<T>(matrix, eigenvalues, eigenvectors, n, fastgan::dynamic_shared<T>(), shared); \
  }

SYMMETRIC_EIGH_KERNEL(f32, float)
SYMMETRIC_EIGH_KERNEL(f64, double)
