#include "winograd_upsample_products.h"

namespace fastgan::winograd {
namespace {

// Floats of transformed weights at a time: more columns take another round over the tiles.
constexpr int64_t kWeightFloats = 12 << 20;

// One block of columns and one of rows.
void transform_block(const Taps& taps, int64_t column, int64_t row, float* to, int64_t points) {
  float lanes[9][kLanes][kLanes] = {};  // of rows, columns
  const int columns = static_cast<int>(std::min<int64_t>(kLanes, taps.columns - column));
  const int rows = static_cast<int>(std::min<int64_t>(kLanes, taps.rows - row));
  const float* const first = taps.data + column * taps.column_stride + row * taps.row_stride;
  const auto gather = [&](int r, int c) {
    const float* w = first + c * taps.column_stride + r * taps.row_stride;
    for (int tap = 0; tap < 9; ++tap) lanes[tap][r][c] = w[tap * taps.tap_stride];
  };
  // Along the memory: with strides of a power of two few of the lines stay in the cache.
  if (taps.column_stride < taps.row_stride) {
    for (int r = 0; r < rows; ++r)
      for (int c = 0; c < columns; ++c) gather(r, c);
  } else {
    for (int c = 0; c < columns; ++c)
      for (int r = 0; r < rows; ++r) gather(r, c);
  }
  constexpr int p = kPoints;
  for (int r = 0; r < kLanes; ++r) {
    Vector g[9], u[kWeightPoints], half[2 * p];
    for (int tap = 0; tap < 9; ++tap) g[tap] = load(lanes[tap][r]) * taps.scale;
    // Of the outer taps the last is the polynomial's constant.
    along<2, 2, p>(TwoTaps::weight, g + 8, -6, -2, half, p, 1);
    along<p, 2, p>(TwoTaps::weight, half, 1, p, u, 1, p);
    along<1, 2, p>(TwoTaps::weight, g + 7, 0, -6, u + p * p, 0, 1);
    along<1, 2, p>(TwoTaps::weight, g + 5, 0, -2, u + p * p + p, 0, 1);
    u[kWeightPoints - 1] = g[4];
    for (int k = 0; k < kWeightPoints; ++k) store(to + k * points + r * kLanes, u[k]);
  }
}

}  // namespace

int64_t weight_blocks(int64_t blocks, int64_t depth) {
  return std::min(blocks, std::max<int64_t>(kWeightFloats / (kWeightPoints * depth * kLanes), 4) & ~int64_t{1});
}

void transform_weights(const Taps& taps, int64_t first, int64_t now, int64_t row_blocks, int threads,
                       const Panels& to) {
  share(now * row_blocks, threads, [&](int64_t task, int) {
    const int64_t column = task / row_blocks, row = task % row_blocks * kLanes;
    transform_block(taps, (first + column) * kLanes, row, to.at(0, column, row), to.points);
  });
}

void multiply_tiles(const Parities& in, int64_t depth, const Panels& weights, int64_t now, int64_t tiles,
                    const Parities& out) {
  for (const Kind& kind : kKinds) {
    const Panels &left = in.*kind.panels, &product = out.*kind.panels;
    const int64_t strips = (tiles + kRows - 1) / kRows;
    for (int point = 0; point < kind.points; ++point)
      for (int64_t part = 0; part < kind.rows; ++part)  // as many rows as stay in the cache for all columns
        for (int64_t column = 0; column < now; column += 2)
          for (int64_t strip = 0; strip < strips; ++strip) {
            const int64_t begin = tiles * strip / strips, row = part * tiles + begin;
            const int rows = static_cast<int>(tiles * (strip + 1) / strips - begin);
            multiply(rows, static_cast<int>(std::min<int64_t>(2, now - column)), depth,
                     {left.at(point, 0, row), left.blocks}, {weights.at(kind.first + point, column), weights.blocks},
                     product.at(point, column, row), product.blocks);
          }
  }
}

}  // namespace fastgan::winograd
