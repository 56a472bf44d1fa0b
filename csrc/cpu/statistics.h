// Mean and sum of squared deviations of each channel of what a kernel writes, gathered while it is in the cache.
#pragma once

#include <cstdint>
#include <vector>

#include "../common/moments.h"

namespace fastgan {

// One thread's part. Rows of float are summed about a shift, the channel's first number, and handed on to doubles.
template <class T>
class ChannelStatistics {
 public:
  using A = accumulator_t<T>;

  explicit ChannelStatistics(int64_t channels)
      : shift_(channels),
        sum_(channels),
        squares_(channels),
        totals_(channels),
        row_sum_(channels),
        row_squares_(channels) {}

  // `pixels` pixels of `inner` channels from `channel` on; several planes have the same ones.
  void add(const T* row, int64_t pixels, int64_t inner, int64_t channel) {
    if (inner == 1) return add_plane(row, pixels, channel);
    if (totals_[channel] == 0)
      for (int64_t c = 0; c < inner; ++c) shift_[channel + c] = load(row[c]);
    A* sum = row_sum_.data();
    A* squares = row_squares_.data();
    const A* shift = shift_.data() + channel;
    for (int64_t c = 0; c < inner; ++c) sum[c] = squares[c] = 0;
    for (int64_t x = 0; x < pixels; ++x) {
      const T* pixel = row + x * inner;
#pragma omp simd
      for (int64_t c = 0; c < inner; ++c) {
        const A d = load(pixel[c]) - shift[c];
        sum[c] += d;
        squares[c] += d * d;
      }
    }
    for (int64_t c = 0; c < inner; ++c) hand_on(channel + c, pixels, sum[c], squares[c]);
  }

  Moments of(int64_t channel) const {
    return Moments::of_shifted(double(totals_[channel]), double(shift_[channel]), sum_[channel], squares_[channel]);
  }

 private:
  // Reassociated: the sums of a row run in lanes.
  void add_plane(const T* row, int64_t pixels, int64_t channel) {
    if (totals_[channel] == 0 && pixels > 0) shift_[channel] = load(row[0]);
    const A shift = shift_[channel];
    A sum = 0, squares = 0;
#pragma omp simd reduction(+ : sum, squares)
    for (int64_t x = 0; x < pixels; ++x) {
      const A d = load(row[x]) - shift;
      sum += d;
      squares += d * d;
    }
    hand_on(channel, pixels, sum, squares);
  }

  void hand_on(int64_t channel, int64_t pixels, A sum, A squares) {
    sum_[channel] += sum;
    squares_[channel] += squares;
    totals_[channel] += pixels;
  }

  std::vector<A> shift_;
  std::vector<double> sum_, squares_;
  std::vector<int64_t> totals_;
  std::vector<A> row_sum_, row_squares_;
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
