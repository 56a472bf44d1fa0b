// What the convolution and its weight gradient share: the tiles of an image, the blocks of transformed tiles, scratch
// memory, and the division of work among threads.
#pragma once

#include <algorithm>
#include <atomic>

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

// The tiles of the output, numbered along rows, then images.
struct Grid {
  int64_t batch, height, width;  // of the output
  int side;
  int64_t rows = (height + side - 1) / side, columns = (width + side - 1) / side;

  int64_t tiles() const { return batch * rows * columns; }

  struct Place {
    int64_t image, y, x;
  };
  Place place(int64_t tile) const {
    return {tile / (rows * columns), tile / columns % rows * side, tile % columns * side};
  }
};

inline Grid grid_of(const WinogradCall& call) {
  return {call.batch, call.height + 2 * call.pad_height - 2, call.width + 2 * call.pad_width - 2, call.tile};
}

// Transforms the square of kIn² pixels at (y, x), of the blocks of channels from `begin` to `end`, to kOut² points of
// one tile of the panels, which begin with these blocks.
template <int kIn, int kOut, class Function>
inline void transform_square(Function function, const Images& images, const float* zeros, int64_t image, int64_t y,
                             int64_t x, int64_t begin, int64_t end, const Panels& panels, int64_t tile) {
  const float* pixels[kIn * kIn];
  images.square<kIn>(image, y, x, zeros, pixels);
  Vector d[kIn * kIn], v[kOut * kOut];
  for (int64_t block = begin; block < end; ++block) {
    const int64_t first = block * kLanes;
    const int count = static_cast<int>(std::min<int64_t>(kLanes, images.channels - first));
    if (count == kLanes) {
      FASTGAN_UNROLL
      for (int k = 0; k < kIn * kIn; ++k) d[k] = load(pixels[k] + first);
    } else {
      for (int k = 0; k < kIn * kIn; ++k) d[k] = load_first(pixels[k] + first, count);
    }
    in_both_dimensions<kIn, kOut>(function, d, v);
    float* to = panels.at(0, block - begin, tile);
    FASTGAN_UNROLL
    for (int k = 0; k < kOut * kOut; ++k) store(to + k * panels.points, v[k]);
  }
}

// Whether any number added was infinite or NaN.
class NonFinite {
 public:
  void add(Vector v) { sum_ += v * 0.0f; }
  bool found() const {
    for (int i = 0; i < kLanes; ++i)
      if (sum_[i] != 0.0f) return true;
    return false;
  }

 private:
  Vector sum_ = {};
};

// Memory for `floats` numbers, aligned to a cache line, that the calling thread keeps: the next call overwrites it.
float* scratch(int64_t floats);

// Calls body(task, thread) for each task, whichever thread is free first.
template <class Body>
void share(int64_t tasks, int threads, Body body) {
  std::atomic<int64_t> next{0};
#pragma omp parallel for num_threads(threads) schedule(static, 1) if (threads > 1)
  for (int thread = 0; thread < threads; ++thread)
    for (int64_t task; (task = next.fetch_add(1, std::memory_order_relaxed)) < tasks;) body(task, thread);
}

}  // namespace fastgan::winograd
