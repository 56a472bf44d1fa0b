#include <vector>

#include "winograd_gemm.h"
#include "winograd_upsample.h"
#include "winograd_upsample_tiles.h"

namespace fastgan {
namespace winograd {
namespace {

// Floats of transformed tiles that a worker has at a time.
constexpr int64_t kPanelFloats = 4 << 20;
// Doubles of sums that all workers have.
constexpr int64_t kTotalDoubles = 8 << 20;
// Tiles that are worth sums of their own.
constexpr int64_t kFewestTiles = 32;

// The sums of a block of channels and a pair of blocks of filters: [tap][channel][filter].
constexpr int64_t kSums = 9 * kLanes * 2 * kLanes;

// A worker has a part of the tiles and a group of pairs of blocks of filters; there is nothing to wait for but the end.
// Workers of one part transform the same input, those of one group have sums to be added.
template <WinogradPrologue::Kind kKind>
class WeightGradient {
 public:
  WeightGradient(const WinogradUpsampleCall& call, const WinogradPrologue& before, const float* input,
                 const float* grad_output, float* grad_weight)
      : call_(call),
        before_(before),
        inputs_{input, call.height, call.width, call.channels},
        grads_{grad_output, 2 * call.height, 2 * call.width, call.filters},
        grad_weight_(grad_weight) {}

  bool run() {
    const int64_t sums = in_blocks_ * pairs_ * kSums;
    const int64_t most = std::clamp<int64_t>(kTotalDoubles / std::max<int64_t>(sums, 1), 1, call_.threads);
    parts_ = std::clamp<int64_t>(tiles_ / kFewestTiles, 1, most);
    groups_ = std::clamp<int64_t>(call_.threads / parts_, 1, std::max<int64_t>(pairs_, 1));
    const int64_t group_blocks = (pairs_ + groups_ - 1) / groups_ * 2;
    const int64_t by_tile = kSumsSide * kSumsSide * (in_blocks_ + group_blocks) * kLanes;
    const int64_t fit = std::max<int64_t>(kPanelFloats / std::max<int64_t>(by_tile, 1), 16);
    const int64_t part = (tiles_ + parts_ - 1) / parts_;
    rounds_ = std::max<int64_t>((part + fit - 1) / fit, 1);
    block_ = (part + rounds_ - 1) / rounds_;

    in_floats_ = Parities::floats(in_blocks_, block_);
    out_floats_ = Parities::floats(group_blocks, block_);
    const int64_t own = in_floats_ + out_floats_ + kProducts + kSums;
    const int64_t zeros = std::max(in_blocks_, 2 * pairs_) * kLanes;
    const int64_t totals = only_block() ? 0 : parts_ * sums;
    float* const memory = scratch(2 * totals + zeros + parts_ * groups_ * own);
    totals_ = reinterpret_cast<double*>(memory);
    zeros_ = memory + 2 * totals;
    std::fill_n(memory + 2 * totals, zeros, 0.0f);

    std::vector<NonFinite> bad(std::max<int64_t>(parts_ * groups_, call_.threads));
    share(parts_ * groups_, call_.threads, [&](int64_t worker, int) {
      work(worker / groups_, worker % groups_, memory + 2 * totals + zeros + worker * own, group_blocks, bad[worker]);
    });
    if (!only_block())
      share(in_blocks_ * pairs_, call_.threads, [&](int64_t task, int thread) {
        float result[kSums];
        for (int64_t i = 0; i < kSums; ++i) {
          double total = 0.0;
          for (int64_t p = 0; p < parts_; ++p) total += totals_[p * sums + task * kSums + i];
          result[i] = static_cast<float>(total);
        }
        write(task, result, bad[thread]);
      });
    return std::none_of(bad.begin(), bad.end(), [](const NonFinite& each) { return each.found(); });
  }

 private:
  static constexpr int kHalf = kRowsTransposed;
  static constexpr int64_t kProducts = kWeightPoints * kHalf * 2 * kLanes;

  bool only_block() const { return parts_ * rounds_ == 1; }

  void work(int64_t part, int64_t group, float* memory, int64_t group_blocks, NonFinite& bad) const {
    const int64_t first_pair = pairs_ * group / groups_, last_pair = pairs_ * (group + 1) / groups_;
    const int64_t first_tile = tiles_ * part / parts_, count_tiles = tiles_ * (part + 1) / parts_ - first_tile;
    const int64_t first = 2 * first_pair, last = std::min(2 * last_pair, out_blocks_);
    const Parities in(memory, in_blocks_, block_), out(memory + in_floats_, group_blocks, block_);
    float* const products = memory + in_floats_ + out_floats_;
    const WinogradPrologue nothing;
    const Read<WinogradPrologue::kNothing> inputs(nothing, inputs_, zeros_);
    const Read<kKind> grads(before_, grads_, zeros_);
    for (int64_t round = 0; round < rounds_; ++round) {
      const int64_t begin = count_tiles * round / rounds_, count = count_tiles * (round + 1) / rounds_ - begin;
      for (int64_t t = 0; t < count; ++t) {
        const auto [image, y, x] = grid_.place(first_tile + begin + t);
        transform_input(inputs, image, y, x, 0, in_blocks_, in, t);
        transform_gradient(grads, image, y, x, first, last, out, t);
      }
      for (int64_t pair = first_pair; pair < last_pair; ++pair)
        for (int64_t c = 0; c < in_blocks_; ++c) {
          const int vectors = static_cast<int>(std::min<int64_t>(2, last - 2 * pair));
          float* const sums = products + kProducts;
          multiply_pair(in, c, out, 2 * pair - first, vectors, count, products, sums);
          const int64_t task = pair * in_blocks_ + c;
          if (only_block()) {
            write(task, sums, bad);
            continue;
          }
          // Double precision, so that the error does not grow with the number of blocks.
          double* const total = totals_ + (part * pairs_ * in_blocks_ + task) * kSums;
          if (round == 0)
            for (int64_t i = 0; i < kSums; ++i) total[i] = sums[i];
          else
            for (int64_t i = 0; i < kSums; ++i) total[i] += sums[i];
        }
    }
  }

  // The sums over `count` tiles for a block of channels and a pair of blocks of filters.
  static void multiply_pair(const Parities& in, int64_t c, const Parities& out, int64_t o, int vectors, int64_t count,
                            float* products, float* sums) {
    constexpr int p = kPoints;
    for (int first = 0; first < kLanes; first += kHalf) {
      for (const Kind& kind : kKinds) {
        const Panels &left = in.*kind.panels, &right = out.*kind.panels;
        for (int k = 0; k < kind.points; ++k)
          multiply_transposed(vectors, kind.rows * count, left.at(k, c) + first, {right.at(k, o), right.blocks},
                              products + (kind.first + k) * kHalf * 2 * kLanes, kHalf * kLanes);
      }
      for (int j = 0; j < 2; ++j)
        for (int r = 0; r < kHalf; ++r) {
          Vector u[kWeightPoints] = {}, half[2 * p], g[9];
          if (j < vectors)
            for (int k = 0; k < kWeightPoints; ++k) u[k] = load(products + ((k * 2 + j) * kHalf + r) * kLanes);
          // The transform of the weight, reversed.
          along<p, p, 2>(TwoTaps::weight_adjoint, u, 1, p, half, 1, p);
          along<2, p, 2>(TwoTaps::weight_adjoint, half, p, 1, g + 8, -6, -2);
          along<1, p, 2>(TwoTaps::weight_adjoint, u + p * p, 0, 1, g + 7, 0, -6);
          along<1, p, 2>(TwoTaps::weight_adjoint, u + p * p + p, 0, 1, g + 5, 0, -2);
          g[4] = u[kWeightPoints - 1];
          for (int tap = 0; tap < 9; ++tap) store(sums + ((tap * kLanes + first + r) * 2 + j) * kLanes, g[tap]);
        }
    }
  }

  void write(int64_t task, const float* sums, NonFinite& bad) const {
    const int64_t filter = task / in_blocks_ * 2 * kLanes, channel = task % in_blocks_ * kLanes;
    const int64_t filters = std::min<int64_t>(2 * kLanes, call_.filters - filter);
    const int64_t channels = std::min<int64_t>(kLanes, call_.channels - channel);
    NonFinite found = bad;
    for (int64_t i = 0; i < kSums; i += kLanes) found.add(load(sums + i));
    bad = found;
    for (int64_t f = 0; f < filters; ++f)
      for (int64_t c = 0; c < channels; ++c) {
        float* to = grad_weight_ + (filter + f) * call_.filter_stride + (channel + c) * call_.channel_stride;
        for (int tap = 0; tap < 9; ++tap)
          to[tap * call_.tap_stride] = call_.scale * sums[(tap * kLanes + c) * 2 * kLanes + f];
      }
  }

  const WinogradUpsampleCall& call_;
  const WinogradPrologue& before_;
  const Grid grid_{call_.batch, call_.height, call_.width, kTileSide};
  const Images inputs_, grads_;
  float* const grad_weight_;
  const int64_t tiles_ = grid_.tiles(), in_blocks_ = blocks_of(call_.channels);
  const int64_t out_blocks_ = blocks_of(call_.filters), pairs_ = (out_blocks_ + 1) / 2;
  int64_t parts_ = 1, groups_ = 1, rounds_ = 1, block_ = 0, in_floats_ = 0, out_floats_ = 0;
  double* totals_ = nullptr;
  const float* zeros_ = nullptr;
};

}  // namespace
}  // namespace winograd

bool winograd_upsample_weight_gradient(const WinogradUpsampleCall& call, const WinogradPrologue& before,
                                       const float* input, const float* grad_output, float* grad_weight) {
  using winograd::WeightGradient;
  if (before.kind == WinogradPrologue::kGate)
    return WeightGradient<WinogradPrologue::kGate>(call, before, input, grad_output, grad_weight).run();
  return WeightGradient<WinogradPrologue::kNothing>(call, before, input, grad_output, grad_weight).run();
}

}  // namespace fastgan
