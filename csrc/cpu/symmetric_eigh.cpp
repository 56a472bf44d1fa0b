// Householder's reduction to a tridiagonal matrix, then implicit QL steps (Golub and Van Loan, Matrix Computations,
// sections 8.3 and 5.1.7; with the eigenvalues alone, without roots: Pal, Walker and Kahan, as in LAPACK's dsterf).
#include "symmetric_eigh.h"

#include <cmath>
#include <cstring>
#include <limits>
#include <memory>
#include <new>
#include <numeric>
#include <vector>

#include "tridiagonal_ql.h"

namespace fastgan {
namespace {

// What one thread works on: rows of `stride` elements, each on a cache line of its own.
template <class T>
struct Workspace {
  int64_t n, stride;
  std::unique_ptr<T, void (*)(void*)> memory;
  T *upper, *vectors, *reflectors, *diagonal, *off_diagonal, *tau, *row, *column, *product;
  std::vector<ql::Rotation<T>> rotations;
  std::vector<int64_t> order;

  Workspace(int64_t n, bool with_vectors)
      : n(n),
        stride((n + ql::kVector<T> - 1) / ql::kVector<T> * ql::kVector<T>),
        memory(static_cast<T*>(
                   ::operator new(sizeof(T) * stride * ((with_vectors ? 3 : 1) * n + 6), std::align_val_t(64))),
               [](void* p) { ::operator delete(p, std::align_val_t(64)); }),
        rotations(with_vectors ? n : 0),
        order(n) {
    T* next = memory.get();
    const auto take = [&](int64_t rows) { return std::exchange(next, next + rows * stride); };
    upper = take(n);
    vectors = with_vectors ? take(n) : nullptr;
    reflectors = with_vectors ? take(n) : nullptr;
    diagonal = take(1), off_diagonal = take(1), tau = take(1), row = take(1), column = take(1), product = take(1);
  }
};

// The reflector H = 1 - tau u uᵀ, u_0 = 1, that turns x into (beta, 0, ...); u takes the place of x. Returns beta.
template <class T>
T reflect(T* x, int64_t count, T& tau) {
  T largest = 0;
#pragma omp simd reduction(max : largest)
  for (int64_t i = 1; i < count; ++i) largest = std::max(largest, std::abs(x[i]));
  T alpha = x[0];
  x[0] = 1;
  if (largest < 2 * std::numeric_limits<T>::min()) {
    std::fill(x + 1, x + count, T(0));
    tau = 0;
    return alpha;
  }
  largest = std::max(largest, std::abs(alpha));  // small elements have squares like any others then
  T tail = 0;
#pragma omp simd reduction(+ : tail)  // reassociation is allowed here
  for (int64_t i = 1; i < count; ++i) {
    x[i] /= largest;
    tail += x[i] * x[i];
  }
  alpha /= largest;
  const T norm = std::sqrt(alpha * alpha + tail), beta = alpha > 0 ? -norm : norm;
  tau = (beta - alpha) / beta;
  const T scale = 1 / (alpha - beta);
#pragma omp simd
  for (int64_t i = 1; i < count; ++i) x[i] *= scale;
  return beta * largest;
}

// Reduces the upper triangle, largest rows first: then those of graded matrices keep their digits. Each pass over what
// is left applies the last reflector, by a correction of rank two, and multiplies with the next one.
template <class T>
void tridiagonalize(Workspace<T>& w) {
  const int64_t n = w.n;
  T *v = w.row, *z = w.column, *u = w.product;  // the correction is v zᵀ + z vᵀ
  std::memset(v, 0, sizeof(T) * n);
  std::memset(z, 0, sizeof(T) * n);
  std::vector<T> sums(w.stride);
  for (int64_t k = 0; k < n; ++k) {
    T* a = w.upper + k * w.stride;
#pragma omp simd
    for (int64_t j = k; j < n; ++j) a[j] -= v[k] * z[j] + z[k] * v[j];
    w.diagonal[k] = a[k];
    if (k + 1 == n) break;
    const int64_t first = k + 1;
    w.off_diagonal[k] = reflect(a + first, n - first, w.tau[k]);
    std::memcpy(u + first, a + first, sizeof(T) * (n - first));
    if (w.reflectors) std::memcpy(w.reflectors + k * w.stride + first, a + first, sizeof(T) * (n - first));
    T* y = sums.data();
    std::memset(y + first, 0, sizeof(T) * (n - first));
    for (int64_t i = first; i < n; ++i) {
      T* b = w.upper + i * w.stride;
      const T vi = v[i], zi = z[i], ui = u[i];
      b[i] -= vi * z[i] + zi * v[i];
      T sum = b[i] * ui;
#pragma omp simd reduction(+ : sum)  // reassociation is allowed here
      for (int64_t j = i + 1; j < n; ++j) {
        const T x = b[j] - (vi * z[j] + zi * v[j]);
        b[j] = x;
        sum += x * u[j];
        y[j] += x * ui;
      }
      y[i] += sum;
    }
    T dot = 0;
#pragma omp simd reduction(+ : dot)  // reassociation is allowed here
    for (int64_t j = first; j < n; ++j) dot += y[j] * u[j];
    const T tau = w.tau[k], half = tau * tau * dot / 2;
#pragma omp simd
    for (int64_t j = first; j < n; ++j) {
      z[j] = tau * y[j] - half * u[j];
      v[j] = u[j];
    }
  }
}

// Rows that are the columns of the product of all reflectors.
template <class T>
void accumulate(Workspace<T>& w) {
  const int64_t n = w.n;
  std::memset(w.vectors, 0, sizeof(T) * n * w.stride);
  for (int64_t i = 0; i < n; ++i) w.vectors[i * w.stride + i] = 1;
  for (int64_t k = n - 2; k >= 0; --k) {
    const T tau = w.tau[k];
    if (tau == 0) continue;
    const T* u = w.reflectors + k * w.stride;
    for (int64_t i = k + 1; i < n; ++i) {
      T* row = w.vectors + i * w.stride;
      T dot = 0;
#pragma omp simd reduction(+ : dot)  // reassociation is allowed here
      for (int64_t j = k + 1; j < n; ++j) dot += row[j] * u[j];
      dot *= tau;
#pragma omp simd
      for (int64_t j = k + 1; j < n; ++j) row[j] -= dot * u[j];
    }
  }
}

// The largest magnitude, NaN where there is one.
template <class T>
T read(Workspace<T>& w, const T* matrix) {
  T largest = 0;
  bool finite = true;
  for (int64_t i = 0; i < w.n; ++i) {
    for (int64_t j = 0; j <= i; ++j) {
      const T value = matrix[i * w.n + j], size = std::abs(value);
      finite &= size <= std::numeric_limits<T>::max();
      largest = size > largest ? size : largest;
      w.upper[j * w.stride + i] = value;
    }
  }
  return finite ? largest : std::numeric_limits<T>::quiet_NaN();
}

template <class T>
void solve(Workspace<T>& w, const T* matrix, T* eigenvalues, T* eigenvectors) {
  const int64_t n = w.n;
  const T largest = read(w, matrix);
  // By a power of two: squares then neither overflow nor vanish beside what counts.
  constexpr int kLargestExponent = std::numeric_limits<T>::max_exponent - 1;
  const T scale = largest > 0 ? std::ldexp(T(1), std::min(-std::ilogb(largest), kLargestExponent)) : T(1);
  for (int64_t i = 0; i < n; ++i)
    for (int64_t j = i; j < n; ++j) w.upper[i * w.stride + j] *= scale;
  bool solved = !std::isnan(largest);
  if (solved) {
    tridiagonalize(w);
    if (w.vectors) accumulate(w);
    solved = ql::solve(w.diagonal, w.off_diagonal, n, w.vectors, w.stride, w.rotations.data());
  }
  if (!solved) {
    std::fill_n(eigenvalues, n, std::numeric_limits<T>::quiet_NaN());
    if (w.vectors) std::fill_n(eigenvectors, n * n, std::numeric_limits<T>::quiet_NaN());
    return;
  }
  std::iota(w.order.begin(), w.order.end(), 0);
  std::sort(w.order.begin(), w.order.end(), [&](int64_t a, int64_t b) { return w.diagonal[a] < w.diagonal[b]; });
  for (int64_t j = 0; j < n; ++j) eigenvalues[j] = w.diagonal[w.order[j]] / scale;
  if (!w.vectors) return;
  for (int64_t i = 0; i < n; ++i)
    for (int64_t j = 0; j < n; ++j) eigenvectors[i * n + j] = w.vectors[w.order[j] * w.stride + i];
}

template <class T>
void solve_all(int64_t batch, int64_t n, int threads, const T* matrix, T* eigenvalues, T* eigenvectors) {
  const int used = static_cast<int>(std::clamp<int64_t>(batch, 1, std::max(threads, 1)));
#pragma omp parallel num_threads(used) if (used > 1)
  {
    Workspace<T> workspace(n, eigenvectors != nullptr);
#pragma omp for schedule(dynamic)
    for (int64_t i = 0; i < batch; ++i)
      solve(workspace, matrix + i * n * n, eigenvalues + i * n, eigenvectors ? eigenvectors + i * n * n : nullptr);
  }
}

}  // namespace

void symmetric_eigh(DType dtype, int64_t batch, int64_t n, int threads, const void* matrix, void* eigenvalues,
                    void* eigenvectors) {
  const auto run = [&](auto zero) {
    using T = decltype(zero);
    solve_all(batch, n, threads, static_cast<const T*>(matrix), static_cast<T*>(eigenvalues),
              static_cast<T*>(eigenvectors));
  };
  dtype == DType::float64 ? run(double{}) : run(float{});
}

}  // namespace fastgan
