#include "winograd.h"

#include <cstdlib>
#include <memory>
#include <vector>

#include "statistics.h"
#include "winograd_gemm.h"
#include "winograd_pixels.h"
#include "winograd_tiles.h"

namespace fastgan {
namespace winograd {
namespace {

struct Free {
  void operator()(float* memory) const { std::free(memory); }
};
thread_local std::unique_ptr<float, Free> kept;
thread_local int64_t kept_floats = 0;

// Floats of transformed weights at a time: more filters take another round over the input.
constexpr int64_t kWeightFloats = 12 << 20;
// Tiles in a block, at most: whole groups of a product's rows.
constexpr int64_t kBlock = (56 + kRows - 1) / kRows * kRows;

// Transformed weights: vector (point, block of filters, channel) is at data + point · points + block · blocks + channel
// · kLanes, which makes each block the right side of a product.
template <int kTile>
void transform_weight(const WinogradCall& call, const float* weight, int64_t filter, int64_t channel, float* to,
                      int64_t points) {
  constexpr int kSide = kTile + 2;
  float taps[9][kLanes][kLanes] = {};  // of channels, filters
  const int filters = static_cast<int>(std::min<int64_t>(kLanes, call.filters - filter));
  const int channels = static_cast<int>(std::min<int64_t>(kLanes, call.channels - channel));
  const float* const first = weight + filter * call.filter_stride + channel * call.channel_stride;
  const auto gather = [&](int c, int f) {
    const float* w = first + f * call.filter_stride + c * call.channel_stride;
    for (int tap = 0; tap < 9; ++tap) taps[call.flipped ? 8 - tap : tap][c][f] = w[tap * call.tap_stride];
  };
  // Along the memory: with strides of a power of two few of the lines stay in the cache.
  if (call.filter_stride < call.channel_stride) {
    for (int c = 0; c < channels; ++c)
      for (int f = 0; f < filters; ++f) gather(c, f);
  } else {
    for (int f = 0; f < filters; ++f)
      for (int c = 0; c < channels; ++c) gather(c, f);
  }
  const float scale = call.divisor ? 1.0f / *call.divisor : 1.0f;
  for (int c = 0; c < kLanes; ++c) {
    Vector g[9], u[kSide * kSide];
    for (int tap = 0; tap < 9; ++tap) g[tap] = load(taps[tap][c]) * scale;
    in_both_dimensions<3, kSide>(Transform<kTile>::weight, g, u);
    FASTGAN_UNROLL
    for (int k = 0; k < kSide * kSide; ++k) store(to + c * kLanes + k * points, u[k]);
  }
}

// Writes the tiles of an output, and gathers their statistics.
template <int kTile>
class Write {
 public:
  Write(const WinogradCall& call, const WinogradEpilogue& after, const Grid& grid, float* output)
      : after_(after), grid_(grid), filters_(call.filters), output_(output) {}

  // Transforms the products of one tile and block of filters, from `filter` on, back, and writes what lies inside the
  // image.
  void operator()(const Grid::Place& place, const float* from, int64_t points, Vector bias, int64_t filter,
                  NonFinite& bad, ChannelStatistics<float>* statistics) const {
    constexpr int kSide = kTile + 2;
    Vector m[kSide * kSide], y[kTile * kTile];
    FASTGAN_UNROLL
    for (int k = 0; k < kSide * kSide; ++k) m[k] = load(from + k * points);
    in_both_dimensions<kSide, kTile>(Transform<kTile>::output, m, y);
    const int count = static_cast<int>(std::min<int64_t>(kLanes, filters_ - filter));
    float written[(kTile * kTile + 1) * kLanes];
    int64_t pixels = 0;
    for (int i = 0; i < kTile && place.y + i < grid_.height; ++i)
      for (int j = 0; j < kTile && place.x + j < grid_.width; ++j) {
        const int64_t row = place.image * grid_.height + place.y + i, column = place.x + j;
        const int64_t at = (row * grid_.width + column) * filters_ + filter;
        Vector value = y[i * kTile + j] + bias;
        if (after_.residual) value += load_first(after_.residual + residual_at(row, column, at, filter), count);
        bad.add(value);
        if (after_.gate) value = sloped(value, load_first(after_.gate + at, count), 1.0f, after_.below);
        store_first(output_ + at, value, count);
        if (statistics) store(written + pixels++ * count, value);
      }
    if (statistics) statistics->add(written, pixels, count, filter);
  }

 private:
  int64_t residual_at(int64_t row, int64_t column, int64_t at, int64_t filter) const {
    // Both sides of the output are even there: half a row of all images' rows is one of the residual's.
    return after_.half ? (row / 2 * (grid_.width / 2) + column / 2) * filters_ + filter : at;
  }

  const WinogradEpilogue& after_;
  const Grid& grid_;
  const int64_t filters_;
  float* const output_;
};

template <int kTile, WinogradPrologue::Kind kKind>
bool convolution(const WinogradCall& call, const WinogradPrologue& before, const WinogradEpilogue& after,
                 const float* input, const float* weight, float* output) {
  constexpr int kSide = kTile + 2, kPoints = kSide * kSide;
  const Grid grid = grid_of(call);
  const int64_t tiles = grid.tiles(), out_blocks = blocks_of(call.filters);
  const int64_t in_blocks = std::max<int64_t>(blocks_of(call.channels), 1);  // no channels are a block of zeros
  if (tiles == 0 || call.filters == 0) {
    if (after.statistics) std::fill_n(after.statistics, 2 * call.filters, 0.0f);
    return true;
  }
  // As many blocks of tiles for each thread, of as many tiles each.
  const int64_t rounds = (tiles + call.threads * kBlock - 1) / (call.threads * kBlock);
  const int64_t blocks = std::min(tiles, rounds * call.threads);
  const int64_t block = (tiles + blocks - 1) / blocks;
  const int threads = static_cast<int>(std::min<int64_t>(call.threads, blocks));

  const int64_t depth = in_blocks * kLanes;
  const int64_t fit = std::max<int64_t>(kWeightFloats / (kPoints * depth * kLanes), 4) & ~int64_t{1};
  const int64_t at_once = std::min(out_blocks, fit);
  const int64_t weight_points = Panels::stride_of(at_once, depth);
  const int64_t in_floats = kPoints * Panels::stride_of(in_blocks, block);
  const int64_t out_floats = kPoints * Panels::stride_of(at_once, block);
  const int64_t own = in_floats + out_floats;
  float* const memory = scratch(kPoints * weight_points + threads * own + depth + out_blocks * kLanes);
  const Panels weights(memory, at_once, depth);
  float* const zeros = memory + kPoints * weight_points + threads * own;
  float* const biases = zeros + depth;
  std::fill_n(zeros, depth + out_blocks * kLanes, 0.0f);
  if (after.bias) std::copy_n(after.bias, call.filters, biases);

  const Images images{input, call.height, call.width, call.channels};
  const Read<kKind> read(before, images, zeros);
  const Write<kTile> write(call, after, grid, output);
  std::vector<NonFinite> bad(threads);
  // One for each block of tiles, so that they do not depend on which thread took it.
  std::vector<ChannelStatistics<float>> parts;
  if (after.statistics) parts.assign(blocks, ChannelStatistics<float>(call.filters));
  for (int64_t first = 0; first < out_blocks; first += at_once) {
    const int64_t now = std::min(at_once, out_blocks - first);
    share(now * in_blocks, call.threads, [&](int64_t task, int) {
      const int64_t o = task / in_blocks, c = task % in_blocks * kLanes;
      transform_weight<kTile>(call, weight, (first + o) * kLanes, c, weights.at(0, o, c), weights.points);
    });
    share(blocks, threads, [&](int64_t task, int thread) {
      const int64_t begin = tiles * task / blocks, count = tiles * (task + 1) / blocks - begin;
      float* const mine = memory + kPoints * weight_points + thread * own;
      const Panels in(mine, in_blocks, block), out(mine + in_floats, at_once, block);
      for (int64_t t = 0; t < count; ++t) {
        const auto [image, y, x] = grid.place(begin + t);
        transform_square<kSide, kSide>(Transform<kTile>::input, read, image, y - call.pad_height, x - call.pad_width, 0,
                                       in_blocks, in, t);
      }
      const int64_t strips = (count + kRows - 1) / kRows;
      for (int k = 0; k < kPoints; ++k)
        for (int64_t o = 0; o < now; o += 2)
          for (int64_t strip = 0; strip < strips; ++strip) {
            const int64_t t = count * strip / strips;
            const int rows = static_cast<int>(count * (strip + 1) / strips - t);
            multiply(rows, static_cast<int>(std::min<int64_t>(2, now - o)), depth, {in.at(k, 0, t), in.blocks},
                     {weights.at(k, o), weights.blocks}, out.at(k, o, t), out.blocks);
          }
      NonFinite found = bad[thread];
      for (int64_t t = 0; t < count; ++t)
        for (int64_t o = 0; o < now; ++o) {
          const int64_t filter = (first + o) * kLanes;
          write(grid.place(begin + t), out.at(0, o, t), out.points, load(biases + filter), filter, found,
                after.statistics ? &parts[task] : nullptr);
        }
      bad[thread] = found;
    });
  }
  if (after.statistics) merge_statistics(parts, call.filters, after.statistics);
  return std::none_of(bad.begin(), bad.end(), [](const NonFinite& each) { return each.found(); });
}

}  // namespace

float* scratch(int64_t floats) {
  if (floats > kept_floats) {
    kept.reset();  // before the larger one is asked for
    kept_floats = 0;
    const int64_t lines = (floats * sizeof(float) + 63) / 64;
    kept.reset(static_cast<float*>(std::aligned_alloc(64, lines * 64)));
    if (!kept) throw std::bad_alloc();
    kept_floats = floats;
  }
  return kept.get();
}

}  // namespace winograd

bool winograd_convolution(const WinogradCall& call, const WinogradPrologue& before, const WinogradEpilogue& after,
                          const float* input, const float* weight, float* output) {
  using namespace winograd;
  return with_prologue(before.kind, [&](auto kind) {
    return call.tile == 4 ? convolution<4, kind>(call, before, after, input, weight, output)
                          : convolution<2, kind>(call, before, after, input, weight, output);
  });
}

int64_t winograd_scratch() { return winograd::kept_floats * static_cast<int64_t>(sizeof(float)); }

}  // namespace fastgan
