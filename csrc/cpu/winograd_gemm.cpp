#include "winograd_gemm.h"

#include <algorithm>
#include <array>
#include <utility>

namespace fastgan::winograd {
namespace {

// So many products are summed in order, and then these sums: the rounding error grows with the root of either.
constexpr int64_t kStretch = 64;

#define FASTGAN_UNROLL_ROWS _Pragma("GCC unroll 16")

template <int kR, int kV>
struct Sums {
  Vector value[kR][kV] = {};

  // Adds the outer product of kR numbers, `stride` apart, and kV vectors.
  template <int kStride>
  inline void add(const float* a, const float* b, int64_t b_block) {
    Vector right[kV];
    FASTGAN_UNROLL_ROWS
    for (int j = 0; j < kV; ++j) right[j] = load(b + j * b_block);
    FASTGAN_UNROLL_ROWS
    for (int r = 0; r < kR; ++r) {
      FASTGAN_UNROLL_ROWS
      for (int j = 0; j < kV; ++j) value[r][j] += a[r * kStride] * right[j];
    }
  }

  // Adds the sums to those at c, or begins these.
  inline void write(float* c, int64_t c_block, bool begin) const {
    FASTGAN_UNROLL_ROWS
    for (int r = 0; r < kR; ++r) {
      FASTGAN_UNROLL_ROWS
      for (int j = 0; j < kV; ++j) {
        float* to = c + j * c_block + r * kLanes;
        store(to, begin ? value[r][j] : load(to) + value[r][j]);
      }
    }
  }
};

template <int kR, int kV>
void product(int64_t depth, Operand a, Operand b, float* c, int64_t c_block) {
  const float *left = a.data, *right = b.data;
  for (int64_t begin = 0; begin == 0 || begin < depth; begin += kStretch) {  // no depth is a sum of zero
    Sums<kR, kV> sums;
    for (int64_t k = begin; k < std::min(depth, begin + kStretch); k += kLanes, left += a.block)
      for (int i = 0; i < kLanes; ++i, right += kLanes) sums.template add<kLanes>(left + i, right, b.block);
    sums.write(c, c_block, begin == 0);
  }
}

using Product = void (*)(int64_t, Operand, Operand, float*, int64_t);

template <int kV, int... kR>
constexpr std::array<Product, sizeof...(kR)> products(std::integer_sequence<int, kR...>) {
  return {product<kR + 1, kV>...};
}

template <int kV>
void product_transposed(int64_t depth, const float* a, Operand b, float* c, int64_t c_block) {
  const float* right = b.data;
  for (int64_t begin = 0; begin == 0 || begin < depth; begin += kStretch) {  // no depth is a sum of zero
    Sums<kRowsTransposed, kV> sums;
    for (int64_t k = begin; k < std::min(depth, begin + kStretch); ++k, a += kLanes, right += kLanes)
      sums.template add<1>(a, right, b.block);
    sums.write(c, c_block, begin == 0);
  }
}

}  // namespace

void multiply(int rows, int vectors, int64_t depth, Operand a, Operand b, float* c, int64_t c_block) {
  static constexpr auto one = products<1>(std::make_integer_sequence<int, kRows>());
  static constexpr auto two = products<2>(std::make_integer_sequence<int, kRows>());
  (vectors == 1 ? one : two)[rows - 1](depth, a, b, c, c_block);
}

void multiply_transposed(int vectors, int64_t depth, const float* a, Operand b, float* c, int64_t c_block) {
  (vectors == 1 ? product_transposed<1> : product_transposed<2>)(depth, a, b, c, c_block);
}

}  // namespace fastgan::winograd
