#include <vector>

#include "winograd_upsample_products.h"

namespace fastgan {
namespace winograd {
namespace {

// Writes the gradient of a tile's pixels, as far as they lie in the image.
inline void write_pixels(const Grid& grid, const Grid::Place& place, const Vector* pixels, float* output,
                         int64_t channels, int count, Vector bias, NonFinite& bad) {
  for (int i = 0; i < kTileSide && place.y + i < grid.height; ++i)
    for (int j = 0; j < kTileSide && place.x + j < grid.width; ++j) {
      const Vector value = pixels[i * kTileSide + j] + bias;
      float* to = output + ((place.image * grid.height + place.y + i) * grid.width + place.x + j) * channels;
      bad.add(value);
      store_first(to, value, count);
    }
}

template <WinogradPrologue::Kind kKind>
bool input_gradient(const WinogradUpsampleCall& call, const WinogradPrologue& before, const float* grad_output,
                    const float* weight, const float* bias, float* grad_input) {
  const Grid grid{call.batch, call.height, call.width, kTileSide};
  const int64_t tiles = grid.tiles(), out_blocks = blocks_of(call.channels);
  const int64_t in_blocks = std::max<int64_t>(blocks_of(call.filters), 1);  // no filters are a block of zeros
  if (tiles == 0 || call.channels == 0) return true;
  // As many blocks of tiles for each thread, of as many tiles each.
  const int64_t rounds = (tiles + call.threads * kUpsampleBlock - 1) / (call.threads * kUpsampleBlock);
  const int64_t blocks = std::min(tiles, rounds * call.threads);
  const int64_t block = (tiles + blocks - 1) / blocks;
  const int threads = static_cast<int>(std::min<int64_t>(call.threads, blocks));

  const int64_t depth = in_blocks * kLanes, at_once = weight_blocks(out_blocks, depth);
  const int64_t weight_floats = kWeightPoints * Panels::stride_of(at_once, depth);
  const int64_t in_floats = Parities::floats(in_blocks, block);
  const int64_t own = in_floats + Parities::floats(at_once, block);
  float* const memory = scratch(weight_floats + depth + out_blocks * kLanes + threads * own);
  const Panels weights(memory, at_once, depth);
  float* const zeros = memory + weight_floats;
  float* const biases = zeros + depth;
  std::fill_n(zeros, depth + out_blocks * kLanes, 0.0f);
  if (bias) std::copy_n(bias, call.channels, biases);

  const Images grads{grad_output, 2 * call.height, 2 * call.width, call.filters};
  const Taps taps{weight,          call.channels, call.filters, call.channel_stride, call.filter_stride,
                  call.tap_stride, call.scale};
  const Read<kKind> read(before, grads, zeros);
  std::vector<NonFinite> bad(threads);
  for (int64_t first = 0; first < out_blocks; first += at_once) {
    const int64_t now = std::min(at_once, out_blocks - first);
    transform_weights(taps, first, now, in_blocks, call.threads, weights);
    share(blocks, threads, [&](int64_t task, int thread) {
      const int64_t begin = tiles * task / blocks, count = tiles * (task + 1) / blocks - begin;
      float* const mine = biases + out_blocks * kLanes + thread * own;
      const Parities in(mine, in_blocks, block), out(mine + in_floats, at_once, block);
      for (int64_t t = 0; t < count; ++t) {
        const auto [image, y, x] = grid.place(begin + t);
        transform_gradient(read, image, y, x, 0, in_blocks, in, t);
      }
      multiply_tiles(in, depth, weights, now, count, out);
      NonFinite found = bad[thread];
      for (int64_t t = 0; t < count; ++t)
        for (int64_t o = 0; o < now; ++o) {
          const int64_t channel = (first + o) * kLanes;
          Vector pixels[kTileSide * kTileSide];
          pixels_of(out, o, t, pixels);
          write_pixels(grid, grid.place(begin + t), pixels, grad_input + channel, call.channels,
                       static_cast<int>(std::min<int64_t>(kLanes, call.channels - channel)), load(biases + channel),
                       found);
        }
      bad[thread] = found;
    });
  }
  return std::none_of(bad.begin(), bad.end(), [](const NonFinite& each) { return each.found(); });
}

}  // namespace
}  // namespace winograd

bool winograd_upsample_input_gradient(const WinogradUpsampleCall& call, const WinogradPrologue& before,
                                      const float* grad_output, const float* weight, const float* bias,
                                      float* grad_input) {
  using winograd::input_gradient;
  return (before.kind == WinogradPrologue::kGate
              ? input_gradient<WinogradPrologue::kGate>
              : input_gradient<WinogradPrologue::kNothing>)(call, before, grad_output, weight, bias, grad_input);
}

}  // namespace fastgan
