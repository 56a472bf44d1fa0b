#include "winograd_upsample.h"

#include <vector>

#include "fresh_memory.h"
#include "statistics.h"
#include "winograd_upsample_products.h"

namespace fastgan {
namespace winograd {
namespace {

// Tiles run along rows and down the images. What the last sums of a tile leave for its neighbours, to the right and
// below, is carried along, so that the sums are added up and filtered as they are made and never written. A chain is a
// run of rows of tiles that one thread takes; where one begins within an image, the two rows of the output to which the
// chain before it contributes are written afterwards, in the same order of additions.
class Upsample {
 public:
  Upsample(const WinogradUpsampleCall& call, const WinogradEpilogue& after, const float* input, const float* weight,
           float* output)
      : call_(call),
        after_(after),
        images_{input, call.height, call.width, call.channels},
        taps_{weight,          call.filters, call.channels, call.filter_stride, call.channel_stride,
              call.tap_stride, call.scale},
        output_(output),
        statistics_(after.statistics) {}

  bool run() {
    const int64_t tiles = grid_.tiles(), rows = call_.batch * grid_.rows;
    if (tiles == 0 || call_.filters == 0) {
      if (statistics_) std::fill_n(statistics_, 2 * call_.filters, 0.0f);
      return true;
    }
    const int64_t most = std::max<int64_t>(tiles / kUpsampleBlock, 1);
    chains_ = call_.threads == 1 ? 1 : std::min({most, rows, 4 * int64_t{call_.threads}});
    const int64_t longest = (rows + chains_ - 1) / chains_ * grid_.columns;
    const int64_t blocks = (longest + kUpsampleBlock - 1) / kUpsampleBlock;
    block_ = (longest + blocks - 1) / blocks;
    const int threads = static_cast<int>(std::min<int64_t>(call_.threads, chains_));

    const int64_t depth = in_blocks_ * kLanes;
    at_once_ = weight_blocks(out_blocks_, depth);
    const int64_t weight_floats = kWeightPoints * Panels::stride_of(at_once_, depth);
    const int64_t in_floats = Parities::floats(in_blocks_, block_);
    const int64_t own = in_floats + Parities::floats(at_once_, block_) + at_once_ * kCarried * kLanes;
    const int64_t carried = chains_ * 4 * at_once_ * 2 * call_.width * kLanes;
    float* const memory = scratch(weight_floats + depth + out_blocks_ * kLanes + carried + threads * own);
    const Panels weights(memory, at_once_, depth);
    float* const zeros = memory + weight_floats;
    biases_ = zeros + depth;
    std::fill_n(zeros, depth + out_blocks_ * kLanes, 0.0f);
    if (after_.bias) std::copy_n(after_.bias, call_.filters, biases_);
    carries_ = biases_ + out_blocks_ * kLanes;

    std::vector<NonFinite> bad(std::max<int64_t>(threads, chains_));
    if (statistics_) moments_.assign(chains_, ChannelStatistics<float>(call_.filters));
    for (first_ = 0; first_ < out_blocks_; first_ += at_once_) {
      now_ = std::min(at_once_, out_blocks_ - first_);
      transform_weights(taps_, first_, now_, in_blocks_, call_.threads, weights);
      share(chains_, threads, [&](int64_t chain, int thread) {
        float* const mine = carries_ + carried + thread * own;
        const Parities in(mine, in_blocks_, block_), out(mine + in_floats, at_once_, block_);
        walk(chain, in, weights, out, mine + own - at_once_ * kCarried * kLanes, zeros, bad[chain]);
      });
      share(chains_, threads, [&](int64_t chain, int) { write_seam(chain, bad[chain]); });
    }
    if (statistics_) merge_statistics(moments_, call_.filters, statistics_);
    return std::none_of(bad.begin(), bad.end(), [](const NonFinite& each) { return each.found(); });
  }

 private:
  static constexpr int n = kSumsSide;
  // Vectors that a tile leaves to the one on its right: its last two columns of sums.
  static constexpr int64_t kCarried = 2 * n;

  // Where a pixel's vector of filters goes, and what is added to it.
  struct Writer {
    const float *bias, *residual, *gate;
    float below;
    float* output;
    int64_t filters;
    int count;
    NonFinite& bad;

    inline void write(int64_t at, Vector value) const {
      value += load(bias);
      if (residual) value += load_first(residual + at * filters, count);
      bad.add(value);
      if (gate) value = sloped(value, load_first(gate + at * filters, count), 1.0f, below);
      store_first(output + at * filters, value, count);
    }
  };
  Writer writer(int64_t o, NonFinite& bad) const {
    const int64_t filter = (first_ + o) * kLanes;
    const int count = static_cast<int>(std::min<int64_t>(kLanes, call_.filters - filter));
    const auto from = [filter](const float* image) { return image ? image + filter : nullptr; };
    return {biases_ + filter,
            from(after_.residual),
            from(after_.gate),
            after_.below,
            output_ + filter,
            call_.filters,
            count,
            bad};
  }

  int64_t first_row(int64_t chain) const { return call_.batch * grid_.rows * chain / chains_; }
  bool begins_inside(int64_t chain) const { return first_row(chain) % grid_.rows != 0; }

  // Rows of the output's size that a chain keeps: the first two of its sums, and the last two so far.
  enum Kept { kFirst, kSecond, kLast, kBeyond };
  float* kept(int64_t chain, Kept which, int64_t o, int64_t x) const {
    return carries_ + (((chain * 4 + which) * at_once_ + o) * 2 * call_.width + x) * kLanes;
  }
  // The pixel of the output, of all images.
  int64_t pixel(int64_t image, int64_t y, int64_t x) const {
    return (image * 2 * call_.height + y) * 2 * call_.width + x;
  }

  void walk(int64_t chain, const Parities& in, const Panels& weights, const Parities& out, float* carried,
            const float* zeros, NonFinite& bad) {
    const int64_t begin = first_row(chain) * grid_.columns, tiles = first_row(chain + 1) * grid_.columns - begin;
    const int64_t blocks = (tiles + block_ - 1) / block_, row_size = 2 * call_.width * call_.filters;
    const auto [top_image, top, left] = grid_.place(begin);
    FreshMemory<float> fresh(output_, pixel(top_image, 2 * top, 0) * call_.filters,
                             call_.batch * 2 * call_.height * row_size);
    const WinogradPrologue nothing;
    const Read<WinogradPrologue::kNothing> read(nothing, images_, zeros);
    NonFinite found = bad;
    for (int64_t block = 0; block < blocks; ++block) {
      const int64_t from = begin + tiles * block / blocks, count = begin + tiles * (block + 1) / blocks - from;
      for (int64_t t = 0; t < count; ++t) {
        const auto [image, y, x] = grid_.place(from + t);
        transform_input(read, image, y, x, 0, in_blocks_, in, t);
      }
      multiply_tiles(in, in_blocks_ * kLanes, weights, now_, count, out);
      for (int64_t t = 0; t < count; ++t) {
        const Grid::Place place = grid_.place(from + t);
        const int64_t last = rows_end(place);
        if (place.x == 0) {
          fresh.reach(pixel(place.image, last, 0) * call_.filters);
          std::fill_n(carried, now_ * kCarried * kLanes, 0.0f);
        }
        for (int64_t o = 0; o < now_; ++o)
          write_tile(chain, place, out, t, o, carried + o * kCarried * kLanes, writer(o, found));
        if (statistics_ && first_ + now_ == out_blocks_ && place.x + kTileSide >= call_.width)
          for (int64_t y = rows_begin(chain, place); y < last; ++y) add_statistics(chain, place.image, y);
      }
    }
    bad = found;
  }

  void add_statistics(int64_t chain, int64_t image, int64_t y) {
    moments_[chain].add(output_ + pixel(image, y, 0) * call_.filters, 2 * call_.width, call_.filters, 0);
  }

  // Whether the place is in a chain's first row of tiles, inside an image.
  bool at_seam(int64_t chain, const Grid::Place& place) const {
    return begins_inside(chain) && place.image * grid_.rows + place.y / kTileSide == first_row(chain);
  }
  // The rows of the output that are complete with a row of tiles.
  int64_t rows_begin(int64_t chain, const Grid::Place& place) const {
    return at_seam(chain, place) ? 2 * place.y + 1 : std::max<int64_t>(2 * place.y - 1, 0);
  }
  int64_t rows_end(const Grid::Place& place) const {
    return place.y + kTileSide < call_.height ? 2 * place.y + 2 * kTileSide - 1 : 2 * call_.height;
  }

  // Filters the sums of a tile with what its neighbours have left, and writes the rows of the output that are complete.
  void write_tile(int64_t chain, const Grid::Place& place, const Parities& out, int64_t t, int64_t o, float* carried,
                  const Writer& writer) const {
    Vector sums[n * n], pairs[n][n];  // pairs of neighbours in a row, the first with the tile on the left
    sums_of(out, o, t, sums);
    for (int i = 0; i < n; ++i) {
      Vector* const row = sums + i * n;
      float* const left = carried + 2 * i * kLanes;
      row[0] += load(left + kLanes);
      pairs[i][0] = load(left) + row[0];
      for (int j = 1; j < n; ++j) pairs[i][j] = row[j - 1] + row[j];
      store(left, row[n - 2]);
      store(left + kLanes, row[n - 1]);
    }
    const bool seam = at_seam(chain, place);
    const int64_t left = 2 * place.x - 1, top = 2 * place.y, last = rows_end(place);
    const int64_t right = place.x + kTileSide < call_.width ? left + n - 1 : 2 * call_.width;
    for (int64_t x = std::max<int64_t>(left, 0); x < right; ++x) {
      const int64_t j = x - left;
      int64_t at = pixel(place.image, top, x);
      Vector sum = pairs[0][j];
      if (seam) {
        store(kept(chain, kFirst, o, x), sum);
        store(kept(chain, kSecond, o, x), pairs[1][j]);
      } else {
        if (top > 0) {
          sum += load(kept(chain, kBeyond, o, x));
          writer.write(at - 2 * call_.width, load(kept(chain, kLast, o, x)) + sum);
        }
        writer.write(at, sum + pairs[1][j]);
      }
      for (int64_t y = top + 1; y < last; ++y) {
        at += 2 * call_.width;
        writer.write(at, pairs[y - top][j] + pairs[y - top + 1][j]);
      }
      store(kept(chain, kLast, o, x), pairs[n - 2][j]);
      store(kept(chain, kBeyond, o, x), pairs[n - 1][j]);
    }
  }

  // The rows that a chain and the one before it share.
  void write_seam(int64_t chain, NonFinite& bad) {
    if (!begins_inside(chain)) return;
    const auto [image, y, left] = grid_.place(first_row(chain) * grid_.columns);
    for (int64_t o = 0; o < now_; ++o) {
      const Writer to = writer(o, bad);
      for (int64_t x = 0; x < 2 * call_.width; ++x) {
        const Vector sum = load(kept(chain, kFirst, o, x)) + load(kept(chain - 1, kBeyond, o, x));
        to.write(pixel(image, 2 * y - 1, x), load(kept(chain - 1, kLast, o, x)) + sum);
        to.write(pixel(image, 2 * y, x), sum + load(kept(chain, kSecond, o, x)));
      }
    }
    if (statistics_ && first_ + now_ == out_blocks_)
      for (int64_t row = 2 * y - 1; row <= 2 * y; ++row) add_statistics(chain, image, row);
  }

  const WinogradUpsampleCall& call_;
  const WinogradEpilogue& after_;
  const Grid grid_{call_.batch, call_.height, call_.width, kTileSide};
  const Images images_;
  const Taps taps_;
  float *const output_, *const statistics_;
  const int64_t out_blocks_ = blocks_of(call_.filters);
  const int64_t in_blocks_ = std::max<int64_t>(blocks_of(call_.channels), 1);  // no channels are a block of zeros
  int64_t chains_ = 1, block_ = 1, at_once_ = 0, first_ = 0, now_ = 0;         // blocks of filters at a time, and which
  float *biases_ = nullptr, *carries_ = nullptr;
  std::vector<ChannelStatistics<float>> moments_;  // of each chain
};

}  // namespace
}  // namespace winograd

bool winograd_upsample(const WinogradUpsampleCall& call, const WinogradEpilogue& after, const float* input,
                       const float* weight, float* output) {
  return winograd::Upsample(call, after, input, weight, output).run();
}

}  // namespace fastgan
