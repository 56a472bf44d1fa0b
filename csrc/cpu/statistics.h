// Mean and sum of squared deviations of each channel of what a kernel writes, gathered while it is in the cache.
#pragma once

#include <cstdint>
#include <vector>

#include "../common/moments.h"

namespace fastgan {

// One thread's part: each row has its own mean and deviations, and joins the rows before it in double. Nothing cancels,
// however far from zero the numbers are and whatever the first of them is.
template <class T>
class ChannelStatistics {
 public:
  using A = accumulator_t<T>;

  explicit ChannelStatistics(int64_t channels)
      : count_(channels), mean_(channels), m2_(channels), centre_(channels), rest_(channels), squares_(channels) {}

  // `pixels` pixels of `inner` channels from `channel` on; several planes have the same ones.
  void add(const T* row, int64_t pixels, int64_t inner, int64_t channel) {
    if (pixels == 0) return;
    if (inner == 1) return add_plane(row, pixels, channel);
    A* centre = centre_.data();
    A* rest = rest_.data();
    A* squares = squares_.data();
    for (int64_t c = 0; c < inner; ++c) centre[c] = rest[c] = squares[c] = 0;
    for (int64_t x = 0; x < pixels; ++x) {
      const T* pixel = row + x * inner;
#pragma omp simd
      for (int64_t c = 0; c < inner; ++c) centre[c] += load(pixel[c]);
    }
    const A scale = A(1) / static_cast<A>(pixels);
    for (int64_t c = 0; c < inner; ++c) centre[c] *= scale;
    for (int64_t x = 0; x < pixels; ++x) {
      const T* pixel = row + x * inner;
#pragma omp simd
      for (int64_t c = 0; c < inner; ++c) {
        const A d = load(pixel[c]) - centre[c];
        rest[c] += d;
        squares[c] += d * d;
      }
    }
    join(channel, inner, pixels);
  }

  Moments of(int64_t channel) const { return {count_[channel], mean_[channel], m2_[channel]}; }

 private:
  // Reassociated: the sums of a row run in lanes.
  void add_plane(const T* row, int64_t pixels, int64_t channel) {
    A sum = 0, rest = 0, squares = 0;
#pragma omp simd reduction(+ : sum)
    for (int64_t x = 0; x < pixels; ++x) sum += load(row[x]);
    const A centre = sum / static_cast<A>(pixels);
#pragma omp simd reduction(+ : rest, squares)
    for (int64_t x = 0; x < pixels; ++x) {
      const A d = load(row[x]) - centre;
      rest += d;
      squares += d * d;
    }
    centre_[0] = centre;
    rest_[0] = rest;
    squares_[0] = squares;
    join(channel, 1, pixels);
  }

  // A row of `inner` channels from `channel` on, with what the rounding of its centres has left; Moments::merge, in a
  // loop that vectorises.
  void join(int64_t channel, int64_t inner, int64_t pixels) {
    const double before = count_[channel], total = before + static_cast<double>(pixels);
    const double share = static_cast<double>(pixels) / total, weight = before * share, each = 1.0 / pixels;
    double* count = count_.data() + channel;
    double* mean = mean_.data() + channel;
    double* m2 = m2_.data() + channel;
#pragma omp simd
    for (int64_t c = 0; c < inner; ++c) {
      const double off = rest_[c] * each;
      const double distance = centre_[c] + off - mean[c];
      mean[c] += distance * share;
      m2[c] += squares_[c] - rest_[c] * off + distance * distance * weight;
      count[c] = total;
    }
  }

  std::vector<double> count_, mean_, m2_;
  std::vector<A> centre_, rest_, squares_;  // of one row
};

// All threads' parts to statistics [2][channels], in the threads' order.
template <class T>
void merge_statistics(const std::vector<ChannelStatistics<T>>& parts, int64_t channels, accumulator_t<T>* statistics) {
  for (int64_t c = 0; c < channels; ++c) {
    Moments all;
    for (const auto& part : parts) all.merge(part.of(c));
    statistics[c] = static_cast<accumulator_t<T>>(all.mean);
    statistics[channels + c] = static_cast<accumulator_t<T>>(all.m2);
  }
}

}  // namespace fastgan
