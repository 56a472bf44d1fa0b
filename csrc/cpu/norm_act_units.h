// What the files of norm_act share: how a tensor is cut into units for the threads, and the channels' parameters.
#pragma once

#include <algorithm>
#include <cmath>
#include <vector>

#include "../common/norm_act_math.h"
#include "norm_act.h"

namespace fastgan {
namespace norm_act {

// After so many terms a sum in float is handed to a double, which bounds its error however the loop was compiled.
constexpr int64_t kSummed = 256;
// A sample is shared among threads in pieces no shorter than this.
constexpr int64_t kShortestPiece = 64;

// A sample, or a piece of its pixels where there are fewer samples than threads have use for.
struct Units {
  int64_t samples, pixels, pieces;

  explicit Units(const NormActCall& call) : samples(call.samples), pixels(call.pixels), pieces(1) {
    if (call.samples < 4 * call.threads) {
      const int64_t wanted = (4 * call.threads + call.samples - 1) / std::max<int64_t>(call.samples, 1);
      pieces = std::clamp<int64_t>(std::min(wanted, pixels / kShortestPiece), 1, 4 * call.threads);
    }
  }
  int64_t count() const { return samples * pieces; }
  int64_t sample(int64_t unit) const { return unit / pieces; }
  int64_t begin(int64_t unit) const { return unit % pieces * pixels / pieces; }
  int64_t end(int64_t unit) const { return (unit % pieces + 1) * pixels / pieces; }
};

inline int64_t total(const NormActCall& call) { return call.samples * call.channels * call.pixels; }

// Calls work(thread, begin, end) on disjoint ranges of `count` equal parts of the tensor.
template <class Work>
void in_parallel(const NormActCall& call, int64_t count, Work work) {
  const int used = static_cast<int>(std::clamp<int64_t>(threads_for(total(call), call.threads), 1, count));
  if (used == 1) {
    work(0, int64_t{0}, count);
    return;
  }
#pragma omp parallel for num_threads(used) schedule(static, 1)
  for (int thread = 0; thread < used; ++thread) work(thread, count * thread / used, count * (thread + 1) / used);
}

// The channels' parameters as the loops read them.
template <class A>
struct Affine {
  const A *mean, *variance, *weight, *bias;
  bool statistics_by_sample, weight_by_sample, bias_by_sample;
  int64_t channels;
  std::vector<A> factors;  // 1 / deviation: of each statistic once, for a root costs more than a row of a small image

  Affine(const NormActCall& call, const NormActParameters& p)
      : mean(static_cast<const A*>(p.mean)),
        variance(static_cast<const A*>(p.variance)),
        weight(static_cast<const A*>(p.weight)),
        bias(static_cast<const A*>(p.bias)),
        statistics_by_sample(p.statistics_by_sample),
        weight_by_sample(p.weight_by_sample),
        bias_by_sample(p.bias_by_sample),
        channels(call.channels),
        factors(variance ? channels * (statistics_by_sample ? call.samples : 1) : 0) {
    for (size_t i = 0; i < factors.size(); ++i) factors[i] = A(1 / std::sqrt(variance[i] + call.eps));
  }

  A weight_at(int64_t n, int64_t c) const { return weight ? weight[weight_by_sample ? n * channels + c : c] : A(1); }
  A bias_at(int64_t n, int64_t c) const { return bias ? bias[bias_by_sample ? n * channels + c : c] : A(0); }
  int64_t statistic(int64_t n, int64_t c) const { return statistics_by_sample ? n * channels + c : c; }
  A mean_at(int64_t n, int64_t c) const { return mean ? mean[statistic(n, c)] : A(0); }
  A factor(int64_t n, int64_t c) const { return variance ? factors[statistic(n, c)] : A(1); }
  NormActAffine<A> at(int64_t n, int64_t c) const {
    return {mean_at(n, c), weight_at(n, c) * factor(n, c), bias_at(n, c)};
  }
};

// The parameters of a sample's channels, one array each, so that a loop over channels vectorises.
template <class A>
struct AffineRow {
  std::vector<A> mean, scale, shift;

  explicit AffineRow(int64_t channels) : mean(channels), scale(channels), shift(channels) {}
  void fill(const Affine<A>& affine, int64_t n) {
    for (int64_t c = 0; c < affine.channels; ++c) {
      const NormActAffine<A> at = affine.at(n, c);
      mean[c] = at.mean;
      scale[c] = at.scale;
      shift[c] = at.shift;
    }
  }
};

// The units' sums to sums [2][samples][channels].
template <class A>
void add_units(const Units& units, int64_t channels, const std::vector<double>& partial, A* products, A* gradients) {
  for (int64_t n = 0; n < units.samples; ++n) {
    for (int64_t c = 0; c < channels; ++c) {
      double sums[2] = {0, 0};
      for (int64_t u = n * units.pieces; u < (n + 1) * units.pieces; ++u)
        for (int k = 0; k < 2; ++k) sums[k] += partial[(2 * u + k) * channels + c];
      products[n * channels + c] = A(sums[0]);
      gradients[n * channels + c] = A(sums[1]);
    }
  }
}

// Calls body(zero of the storage type) if there is anything to do.
template <class Body>
void unless_empty(const NormActCall& call, Body body) {
  if (total(call) != 0) with_dtype(call.dtype, body);
}

// Of a tensor without elements.
inline void zero_sums(const NormActCall& call, void* sums) {
  const int64_t count = 2 * call.samples * call.channels;
  if (total(call) != 0) return;
  if (call.dtype == DType::float64) {
    std::fill_n(static_cast<double*>(sums), count, 0.0);
  } else {
    std::fill_n(static_cast<float*>(sums), count, 0.0f);
  }
}

}  // namespace norm_act
}  // namespace fastgan
