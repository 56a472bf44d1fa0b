// What the convolution and its weight gradient share: the tiles of an image, scratch memory, and the division of work
// among threads.
#pragma once

#include <algorithm>
#include <atomic>

#include "winograd.h"
#include "winograd_vector.h"

namespace fastgan::winograd {

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
