// The tiles of the upsampled convolution, and the transforms of an image's tile and of a gradient's.
//
// Nearest upsampling is zero insertion and a 2×2 box filter, which commutes with the convolution. What is before the
// filter, the sums, splits by parity: in one dimension sums 2i are a correlation of the input with the first and the
// last tap, sums 2i + 1 its product with the middle one. Both are polynomial products. A tile of 4 pixels has 9 sums,
// the 5 even ones from as many products; the last of them is also the first of the next tile, where both are to be
// added. In two dimensions 4×4 pixels have 9×9 sums from as many products for a pair of channels, where the filter
// alone takes 9 each: 5.06 instead of 9 for a pixel. The gradients are the adjoints of these maps.
#pragma once

#include "winograd_pixels.h"
#include "winograd_tiles.h"
#include "winograd_upsample_transforms.h"

namespace fastgan::winograd {

constexpr int kTileSide = 4, kPoints = TwoTaps::kPoints, kSumsSide = 2 * kTileSide + 1;

// A tile of an upsampled convolution transformed, by the parity of the sums' row and column. Where it is odd there is
// one tap, and the pixels of a tile, which meet the same weight, are rows of one product.
struct Parities {
  Panels ee, eo, oe, oo;

  Parities(float* data, int64_t channel_blocks, int64_t tiles)
      : ee(data, channel_blocks, tiles),
        eo(ee.data + kPoints * kPoints * ee.points, channel_blocks, kTileSide * tiles),
        oe(eo.data + kPoints * eo.points, channel_blocks, kTileSide * tiles),
        oo(oe.data + kPoints * oe.points, channel_blocks, kTileSide * kTileSide * tiles) {}

  static int64_t floats(int64_t channel_blocks, int64_t tiles) {
    const Parities panels(nullptr, channel_blocks, tiles);
    return kPoints * kPoints * panels.ee.points + 2 * kPoints * panels.eo.points + panels.oo.points;
  }
};

// The kinds of products: their panels, points, rows in a tile, and the first of the weight's points.
struct Kind {
  Panels Parities::* panels;
  int points, rows, first;
};
constexpr int kWeightPoints = (kPoints + 1) * (kPoints + 1);
constexpr Kind kKinds[] = {{&Parities::ee, kPoints * kPoints, 1, 0},
                           {&Parities::eo, kPoints, kTileSide, kPoints * kPoints},
                           {&Parities::oe, kPoints, kTileSide, kPoints * kPoints + kPoints},
                           {&Parities::oo, 1, kTileSide * kTileSide, kWeightPoints - 1}};

// Calls body(block, d) for each block of channels from `begin` to `end`, with the square of pixels at (y, x).
template <int kSide, class Reader, class Body>
inline void for_blocks(const Reader& read, int64_t image, int64_t y, int64_t x, int64_t begin, int64_t end, Body body) {
  const float* pixels[kSide * kSide];
  read.images().template square<kSide>(image, y, x, read.zeros(), pixels);
  for (int64_t block = begin; block < end; ++block) {
    Vector d[kSide * kSide];
    const int64_t first = block * kLanes;
    const int count = static_cast<int>(std::min<int64_t>(kLanes, read.images().channels - first));
    if (count == kLanes) {
      for (int k = 0; k < kSide * kSide; ++k) d[k] = read(pixels[k], image, first, kLanes);
    } else {
      for (int k = 0; k < kSide * kSide; ++k) d[k] = read(pixels[k], image, first, count);
    }
    body(block - begin, d);
  }
}

// Writes ee [kPoints][kPoints], eo [kPoints][kTileSide], oe [kTileSide][kPoints] and oo to a tile of the panels.
inline void store_tile(const Vector* ee, const Vector* eo, const Vector* oe, const Vector* oo, const Parities& to,
                       int64_t block, int64_t tile) {
  for (int k = 0; k < kPoints * kPoints; ++k) store(to.ee.at(k, block, tile), ee[k]);
  for (int p = 0; p < kPoints; ++p)
    for (int j = 0; j < kTileSide; ++j) store(to.eo.at(p, block, tile * kTileSide + j), eo[p * kTileSide + j]);
  for (int q = 0; q < kPoints; ++q)
    for (int i = 0; i < kTileSide; ++i) store(to.oe.at(q, block, tile * kTileSide + i), oe[i * kPoints + q]);
  for (int k = 0; k < kTileSide * kTileSide; ++k) store(to.oo.at(0, block, tile * kTileSide * kTileSide + k), oo[k]);
}

// The opposite.
inline void load_tile(const Parities& from, int64_t block, int64_t tile, Vector* ee, Vector* eo, Vector* oe,
                      Vector* oo) {
  for (int k = 0; k < kPoints * kPoints; ++k) ee[k] = load(from.ee.at(k, block, tile));
  for (int p = 0; p < kPoints; ++p)
    for (int j = 0; j < kTileSide; ++j) eo[p * kTileSide + j] = load(from.eo.at(p, block, tile * kTileSide + j));
  for (int q = 0; q < kPoints; ++q)
    for (int i = 0; i < kTileSide; ++i) oe[i * kPoints + q] = load(from.oe.at(q, block, tile * kTileSide + i));
  for (int k = 0; k < kTileSide * kTileSide; ++k) oo[k] = load(from.oo.at(0, block, tile * kTileSide * kTileSide + k));
}

// Transforms the tile of the input at (y, x), of the blocks of channels from `begin` to `end`.
template <class Reader>
inline void transform_input(const Reader& read, int64_t image, int64_t y, int64_t x, int64_t begin, int64_t end,
                            const Parities& panels, int64_t tile) {
  constexpr int s = kTileSide, p = kPoints;
  for_blocks<s>(read, image, y, x, begin, end, [&](int64_t block, const Vector* d) {
    Vector ee[p * p], eo[p * s], oe[s * p];
    along<s, s, p>(TwoTaps::input, d, s, 1, oe, p, 1);
    along<s, s, p>(TwoTaps::input, d, 1, s, eo, 1, s);
    along<p, s, p>(TwoTaps::input, eo, s, 1, ee, p, 1);
    store_tile(ee, eo, oe, d, panels, block, tile);
  });
}

// The products of a tile to its sums [kSumsSide][kSumsSide].
inline void sums_of(const Parities& panels, int64_t block, int64_t tile, Vector* sums) {
  constexpr int s = kTileSide, p = kPoints, n = kSumsSide;
  Vector ee[p * p], eo[p * s], oe[s * p], oo[s * s], half[p * p];
  load_tile(panels, block, tile, ee, eo, oe, oo);
  along<p, p, p>(TwoTaps::output, ee, 1, p, half, 1, p);
  along<p, p, p>(TwoTaps::output, half, p, 1, sums, 2 * n, 2);
  along<s, p, p>(TwoTaps::output, eo, 1, s, sums + 1, 2, 2 * n);
  along<s, p, p>(TwoTaps::output, oe, p, 1, sums + n, 2 * n, 2);
  for (int i = 0; i < s; ++i)
    for (int j = 0; j < s; ++j) sums[(2 * i + 1) * n + 2 * j + 1] = oo[i * s + j];
}

// Transforms what the tile of the input at (y, x) has of the output's gradient, of the blocks of filters from `begin`
// to `end`.
template <class Reader>
inline void transform_gradient(const Reader& read, int64_t image, int64_t y, int64_t x, int64_t begin, int64_t end,
                               const Parities& panels, int64_t tile) {
  constexpr int s = kTileSide, p = kPoints, n = kSumsSide, m = n + 1;
  for_blocks<m>(read, image, 2 * y - 1, 2 * x - 1, begin, end, [&](int64_t block, const Vector* d) {
    Vector sums[n * n], ee[p * p], eo[p * s], oe[s * p], oo[s * s], half[p * p], above[n];
    for (int j = 0; j < n; ++j) above[j] = d[j] + d[j + 1];
    for (int i = 0; i < n; ++i)
      for (int j = 0; j < n; ++j) {
        const Vector pair = d[(i + 1) * m + j] + d[(i + 1) * m + j + 1];
        sums[i * n + j] = above[j] + pair;
        above[j] = pair;
      }
    along<p, p, p>(TwoTaps::output_adjoint, sums, 2 * n, 2, half, p, 1);
    along<p, p, p>(TwoTaps::output_adjoint, half, 1, p, ee, 1, p);
    along<s, p, p>(TwoTaps::output_adjoint, sums + 1, 2, 2 * n, eo, 1, s);
    along<s, p, p>(TwoTaps::output_adjoint, sums + n, 2 * n, 2, oe, p, 1);
    for (int i = 0; i < s; ++i)
      for (int j = 0; j < s; ++j) oo[i * s + j] = sums[(2 * i + 1) * n + 2 * j + 1];
    store_tile(ee, eo, oe, oo, panels, block, tile);
  });
}

// The products of a tile to the gradient of its pixels [kTileSide][kTileSide].
inline void pixels_of(const Parities& panels, int64_t block, int64_t tile, Vector* pixels) {
  constexpr int s = kTileSide, p = kPoints;
  Vector ee[p * p], eo[p * s], oe[s * p], rows[s * s], oo[s * s];
  load_tile(panels, block, tile, ee, eo, oe, oo);
  Vector half[p * s];
  along<p, p, s>(TwoTaps::input_adjoint, ee, p, 1, half, s, 1);
  for (int k = 0; k < p * s; ++k) half[k] += eo[k];
  along<s, p, s>(TwoTaps::input_adjoint, half, 1, s, pixels, 1, s);
  along<s, p, s>(TwoTaps::input_adjoint, oe, p, 1, rows, s, 1);
  for (int k = 0; k < s * s; ++k) pixels[k] += rows[k] + oo[k];
}

}  // namespace fastgan::winograd
