// The products in the forward and in the input's gradient of an upsampled convolution.
#pragma once

#include "winograd_gemm.h"
#include "winograd_upsample.h"
#include "winograd_upsample_tiles.h"

namespace fastgan::winograd {

// Tiles in a block, at most: whole groups of a product's rows.
constexpr int64_t kUpsampleBlock = (40 + kRows - 1) / kRows * kRows;

// Blocks of columns whose transformed weights are made at a time, of `blocks`, for products of `depth`.
int64_t weight_blocks(int64_t blocks, int64_t depth);

// The weight as right sides of products from `rows` channels to `columns` ones.
struct Taps {
  const float* data;
  int64_t columns, rows, column_stride, row_stride, tap_stride;
  float scale;
};

// Transforms the blocks of columns from `first` on, `now` of them, to kWeightPoints points: vector (point, block of
// columns, row) is as the tiles of panels are.
void transform_weights(const Taps& taps, int64_t first, int64_t now, int64_t row_blocks, int threads, const Panels& to);

// out = in · weights, for the first `tiles` tiles and `now` blocks of columns.
void multiply_tiles(const Parities& in, int64_t depth, const Panels& weights, int64_t now, int64_t tiles,
                    const Parities& out);

}  // namespace fastgan::winograd
