// Implicit QL steps on symmetric tridiagonal matrices.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <utility>

namespace fastgan::ql {

// Elements of a cache line, of which rows are whole numbers.
template <class T>
constexpr int64_t kVector = 64 / sizeof(T);

template <class T>
struct Rotation {
  T c, s;
};

// For each matrix so many steps an eigenvalue; two is usual.
constexpr int64_t kSteps = 30;

// Below it squares lose digits: rotations by them would leave rows that are not orthogonal.
template <class T>
constexpr T kSmallestSquare = std::numeric_limits<T>::min() / std::numeric_limits<T>::epsilon();

// Whether an off-diagonal element, squared, is nothing beside the two diagonal ones: in proportion to them, which keeps
// the small eigenvalues of graded matrices.
template <class T>
bool negligible(T square, T a, T b) {
  constexpr T eps = std::numeric_limits<T>::epsilon() / 2;
  return square <= eps * eps * std::abs(a * b) + kSmallestSquare<T>;
}

template <class T>
T shift(T d0, T d1, T e, T& offset) {
  offset = (d1 - d0) / (2 * e);
  const T root = std::sqrt(offset * offset + 1);
  return e / (offset + std::copysign(root, offset));
}

// Rotates the rows: one after the other, each with the one before, from `last` down to `first`. A strip of columns
// stays in registers while it goes through all of them.
template <class T>
void rotate(T* rows, int64_t stride, int64_t first, int64_t last, const Rotation<T>* rotations) {
  typedef T Vector __attribute__((vector_size(64)));
  constexpr int kStrip = 4;
  const auto strip = [&](int64_t column, auto width) {
    constexpr int kWidth = decltype(width)::value;
    const auto at = [&](int64_t row, int i) {
      return reinterpret_cast<Vector*>(rows + row * stride + column + i * kVector<T>);
    };
    Vector carried[kWidth];
    for (int i = 0; i < kWidth; ++i) carried[i] = *at(last, i);
    for (int64_t row = last - 1; row >= first; --row) {
      const T c = rotations[row].c, s = rotations[row].s;
#pragma GCC unroll 4
      for (int i = 0; i < kWidth; ++i) {
        const Vector other = *at(row, i);
        *at(row + 1, i) = c * carried[i] + s * other;
        carried[i] = c * other - s * carried[i];
      }
    }
    for (int i = 0; i < kWidth; ++i) *at(first, i) = carried[i];
  };
  int64_t column = 0;
  for (; column + kStrip * kVector<T> <= stride; column += kStrip * kVector<T>)
    strip(column, std::integral_constant<int, kStrip>{});
  for (; column < stride; column += kVector<T>) strip(column, std::integral_constant<int, 1>{});
}

// One step on the unreduced block from `first` to `last`, with the rotations that it takes.
template <class T>
void step(T* d, T* e, int64_t first, int64_t last, Rotation<T>* rotations) {
  T offset;
  T g = d[last] - d[first] + shift(d[first], d[first + 1], e[first], offset);
  T s = 1, c = 1, p = 0;
  for (int64_t i = last - 1; i >= first; --i) {
    const T f = s * e[i], b = c * e[i];
    const T square = f * f + g * g;
    const bool rotates = square > kSmallestSquare<T>;
    const T r = rotates ? std::sqrt(square) : T(0);
    c = rotates ? g / r : T(1);
    s = rotates ? f / r : T(0);
    if (i < last - 1) e[i + 1] = r;
    g = d[i + 1] - p;
    const T t = (d[i] - g) * s + 2 * c * b;
    p = s * t;
    d[i + 1] = g + p;
    g = c * t - b;
    rotations[i] = {c, s};
  }
  d[first] -= p;
  e[first] = g;
}

// The same without rotations, on the squares of the off-diagonal elements.
template <class T>
void square_step(T* d, T* e2, int64_t first, int64_t last) {
  T offset;
  const T sigma = d[first] - shift(d[first], d[first + 1], std::sqrt(e2[first]), offset);
  T c = 1, s = 0, gamma = d[last] - sigma, p = gamma * gamma;
  for (int64_t i = last - 1; i >= first; --i) {
    const T square = e2[i], r = p + square;
    if (i < last - 1) e2[i + 1] = s * r;
    const T old_c = c, old_gamma = gamma;
    c = p / r;
    s = square / r;
    gamma = c * (d[i] - sigma) - s * old_gamma;
    d[i + 1] = old_gamma + (d[i] - gamma);
    p = c != 0 ? gamma * gamma / c : old_c * square;
  }
  e2[first] = s * p;
  d[first] = sigma + gamma;
}

// The eigenvalues take the place of d [n]; e [n - 1] is used up. Columns of `rows`, [n] of `stride` elements, are
// multiplied with the eigenvectors where they are not null. Returns whether all have converged.
template <class T>
bool solve(T* d, T* e, int64_t n, T* rows, int64_t stride, Rotation<T>* rotations) {
  // QL steps find the eigenvalues at the top first, which are to be the small ones.
  if (n > 1 && std::abs(d[0]) > std::abs(d[n - 1])) {
    std::reverse(d, d + n);
    std::reverse(e, e + n - 1);
    if (rows)
      for (int64_t i = 0; i < n / 2; ++i)
        std::swap_ranges(rows + i * stride, rows + (i + 1) * stride, rows + (n - 1 - i) * stride);
  }
  if (!rows)
    for (int64_t i = 0; i + 1 < n; ++i) e[i] *= e[i];
  const auto square = [&](int64_t i) { return rows ? e[i] * e[i] : e[i]; };
  int64_t left = kSteps * n;
  for (int64_t first = 0; first + 1 < n;) {
    int64_t last = first;
    while (last + 1 < n && !negligible(square(last), d[last], d[last + 1])) ++last;
    if (last == first) {
      ++first;
      continue;
    }
    if (left-- == 0) return false;
    if (rows) {
      step(d, e, first, last, rotations);
      rotate(rows, stride, first, last, rotations);
    } else {
      square_step(d, e, first, last);
    }
  }
  return true;
}

}  // namespace fastgan::ql
