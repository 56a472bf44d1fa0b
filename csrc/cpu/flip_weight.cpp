#include "flip_weight.h"

#include <algorithm>

#include "parallel.h"

namespace fastgan {
namespace {

// Tiles of so many rows and columns: lines that a tile reads and writes stay in the first-level cache.
constexpr int64_t kTile = 16;

template <class T>
void flip(const FlipWeightCall& call, const T* input, T* output) {
  const int64_t tiles_down = (call.rows + kTile - 1) / kTile, tiles_across = (call.columns + kTile - 1) / kTile;
  const int64_t tiles = call.groups * tiles_down * tiles_across;
  const int threads = threads_for(call.groups * call.rows * call.columns * call.taps, call.threads);
#pragma omp parallel for num_threads(threads) schedule(static) if (threads > 1)
  for (int64_t tile = 0; tile < tiles; ++tile) {
    const int64_t group = tile / (tiles_down * tiles_across);
    const int64_t row = tile / tiles_across % tiles_down * kTile, column = tile % tiles_across * kTile;
    const int64_t rows = std::min(row + kTile, call.rows), columns = std::min(column + kTile, call.columns);
    for (int64_t tap = 0; tap < call.taps; ++tap) {
      const T* from = input + group * call.in_group + tap * call.in_tap;
      T* to = output + group * call.out_group + (call.taps - 1 - tap) * call.out_tap;
      for (int64_t c = column; c < columns; ++c)
        for (int64_t r = row; r < rows; ++r)
          to[r * call.out_row + c * call.out_column] = from[r * call.in_row + c * call.in_column];
    }
  }
}

}  // namespace

void flip_weight(const FlipWeightCall& call, const void* input, void* output) {
  switch (call.itemsize) {
    case 2: return flip(call, static_cast<const uint16_t*>(input), static_cast<uint16_t*>(output));
    case 4: return flip(call, static_cast<const uint32_t*>(input), static_cast<uint32_t*>(output));
    default: return flip(call, static_cast<const uint64_t*>(input), static_cast<uint64_t*>(output));
  }
}

}  // namespace fastgan
