// From the pixels of images to transformed tiles: what is read, what becomes of it, and where the result lies.
#pragma once

#include <algorithm>
#include <type_traits>

#include "winograd.h"
#include "winograd_transforms.h"

namespace fastgan::winograd {

// Transformed tiles: vector (point, block of channels, tile) is at data + point · points + block · blocks + tile ·
// kLanes.
struct Panels {
  float* data;
  int64_t points, blocks;

  Panels(float* data, int64_t channel_blocks, int64_t tiles)
      : data(data), points(stride_of(channel_blocks, tiles)), blocks(tiles * kLanes) {}

  // A vector more than there is: points a power of two apart would share the cache's sets.
  static int64_t stride_of(int64_t channel_blocks, int64_t tiles) { return (channel_blocks * tiles + 1) * kLanes; }

  float* at(int64_t point, int64_t block, int64_t tile = 0) const {
    return data + point * points + block * blocks + tile * kLanes;
  }
};

// Images [batch][height][width][channels], read in squares that may reach beyond the border, where there are zeros.
struct Images {
  const float* data;
  int64_t height, width, channels;

  // A square of kSide² pixels at (y, x): where each pixel's channels are.
  template <int kSide>
  void square(int64_t image, int64_t y, int64_t x, const float* zeros, const float** pixels) const {
    for (int i = 0; i < kSide; ++i)
      for (int j = 0; j < kSide; ++j) {
        const bool inside = y + i >= 0 && y + i < height && x + j >= 0 && x + j < width;
        *pixels++ = inside ? data + ((image * height + y + i) * width + x + j) * channels : zeros;
      }
  }
};

// A vector's slope at a gate.
inline Vector sloped(Vector x, Vector gate, float above, float below) { return gate > 0.0f ? x * above : x * below; }

// The prologue of a block of `count` channels from `first` on, of one image.
template <WinogradPrologue::Kind kKind>
class Read {
 public:
  Read(const WinogradPrologue& before, const Images& images, const float* zeros)
      : before_(before), images_(images), zeros_(zeros) {}

  const Images& images() const { return images_; }
  const float* zeros() const { return zeros_; }

  Vector operator()(const float* pixel, int64_t image, int64_t first, int count) const {
    const Vector x = load_first(pixel + first, count);
    if constexpr (kKind == WinogradPrologue::kGate) {
      const Vector gate = pixel == zeros_ ? x : load_first(before_.gate + (pixel - images_.data) + first, count);
      return sloped(x, gate, before_.above, before_.below);
    }
    if constexpr (kKind == WinogradPrologue::kAffine) {
      if (pixel == zeros_) return x;
      const Vector scale = load_first(before_.scale + image * before_.scale_by_sample + first, count);
      const Vector shift = load_first(before_.shift + image * before_.shift_by_sample + first, count);
      const Vector z = (x - load_first(before_.mean + first, count)) * scale + shift;
      return sloped(z, z, before_.above, before_.below);
    }
    return x;
  }

 private:
  const WinogradPrologue& before_;
  const Images& images_;
  const float* zeros_;
};

// Transforms the square of kIn² pixels at (y, x), of the blocks of channels from `begin` to `end`, to kOut² points of
// one tile of the panels, which begin with these blocks.
template <int kIn, int kOut, class Function, class Reader>
inline void transform_square(Function function, const Reader& read, int64_t image, int64_t y, int64_t x, int64_t begin,
                             int64_t end, const Panels& panels, int64_t tile) {
  const float* pixels[kIn * kIn];
  read.images().template square<kIn>(image, y, x, read.zeros(), pixels);
  Vector d[kIn * kIn], v[kOut * kOut];
  for (int64_t block = begin; block < end; ++block) {
    const int64_t first = block * kLanes;
    const int count = static_cast<int>(std::min<int64_t>(kLanes, read.images().channels - first));
    if (count == kLanes) {
      FASTGAN_UNROLL
      for (int k = 0; k < kIn * kIn; ++k) d[k] = read(pixels[k], image, first, kLanes);
    } else {
      for (int k = 0; k < kIn * kIn; ++k) d[k] = read(pixels[k], image, first, count);
    }
    in_both_dimensions<kIn, kOut>(function, d, v);
    float* to = panels.at(0, block - begin, tile);
    FASTGAN_UNROLL
    for (int k = 0; k < kOut * kOut; ++k) store(to + k * panels.points, v[k]);
  }
}

// Calls body(std::integral_constant<Kind, kind>()) for a prologue's kind.
template <class Body>
auto with_prologue(WinogradPrologue::Kind kind, Body body) {
  using Kind = WinogradPrologue::Kind;
  switch (kind) {
    case WinogradPrologue::kGate: return body(std::integral_constant<Kind, WinogradPrologue::kGate>());
    case WinogradPrologue::kAffine: return body(std::integral_constant<Kind, WinogradPrologue::kAffine>());
    default: return body(std::integral_constant<Kind, WinogradPrologue::kNothing>());
  }
}

}  // namespace fastgan::winograd
