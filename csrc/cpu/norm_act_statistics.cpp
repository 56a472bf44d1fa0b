// norm_act's statistics of channels.
#include "../common/moments.h"
#include "norm_act_units.h"

namespace fastgan {
using namespace norm_act;

namespace {

// Elements of a block of channels_last rows that is read twice: the second time from the nearest cache.
constexpr int64_t kBlock = 8192;

template <class T>
Moments row_moments(const T* x, int64_t count) {
  using A = accumulator_t<T>;
  Moments moments;
  A centre(0);
  for (int64_t first = 0; first < count; first += kSummed) {
    const int64_t n = std::min(kSummed, count - first);
    if (first == 0) {
      A sum(0);
#pragma omp simd reduction(+ : sum)
      for (int64_t j = 0; j < n; ++j) sum += load(x[j]);
      centre = sum / A(n);
    }
    // Deviations from the mean so far: if a block's mean is far from it, so far is its variance from nothing.
    A sum(0), squares(0);
#pragma omp simd reduction(+ : sum, squares)
    for (int64_t j = 0; j < n; ++j) {
      const A d = load(x[first + j]) - centre;
      sum += d;
      squares += d * d;
    }
    const double off = double(sum) / n;
    moments.merge({double(n), centre + off, std::max(0.0, squares - off * sum)});
    centre = A(moments.mean);
  }
  return moments;
}

// Rows of channels: the same for all channels at once, into moments[channels].
template <class T>
void rows_moments(const T* x, int64_t rows, int64_t channels, Moments* moments) {
  using A = accumulator_t<T>;
  std::vector<A> buffer(3 * channels);
  A *centre = buffer.data(), *sum = centre + channels, *squares = sum + channels;
  const int64_t block = std::clamp<int64_t>(kBlock / channels, 1, kSummed);
  for (int64_t first = 0; first < rows; first += block) {
    const int64_t n = std::min(block, rows - first);
    const T* start = x + first * channels;
    if (first == 0) {
      for (int64_t i = 0; i < n; ++i)
#pragma omp simd
        for (int64_t c = 0; c < channels; ++c) centre[c] += load(start[i * channels + c]);
      for (int64_t c = 0; c < channels; ++c) centre[c] /= A(n);
    }
    std::fill_n(sum, 2 * channels, A(0));
    for (int64_t i = 0; i < n; ++i) {
      const T* row = start + i * channels;
#pragma omp simd
      for (int64_t c = 0; c < channels; ++c) {
        const A d = load(row[c]) - centre[c];
        sum[c] += d;
        squares[c] += d * d;
      }
    }
    for (int64_t c = 0; c < channels; ++c) {
      const double off = double(sum[c]) / n;
      moments[c].merge({double(n), centre[c] + off, std::max(0.0, squares[c] - off * sum[c])});
      centre[c] = A(moments[c].mean);
    }
  }
}

// Channels begin to end of images smaller than a block: the same with blocks of several samples, as a division for each
// sample would cost more than its pixels.
template <class T>
void images_moments(const NormActCall& call, const T* x, int64_t begin, int64_t end, Moments* moments) {
  using A = accumulator_t<T>;
  const int64_t pixels = call.pixels, channels = end - begin, block = kSummed / pixels;
  std::vector<A> buffer(3 * channels);
  A *centre = buffer.data(), *sum = centre + channels, *squares = sum + channels;
  for (int64_t first = 0; first < call.samples; first += block) {
    const int64_t last = std::min(first + block, call.samples), n = (last - first) * pixels;
    if (first == 0) {
      for (int64_t i = first; i < last; ++i) {
        const T* image = x + (i * call.channels + begin) * pixels;
        for (int64_t c = 0; c < channels; ++c) {
          A found(0);
#pragma omp simd reduction(+ : found)
          for (int64_t j = 0; j < pixels; ++j) found += load(image[c * pixels + j]);
          centre[c] += found;
        }
      }
      for (int64_t c = 0; c < channels; ++c) centre[c] /= A(n);
    }
    std::fill_n(sum, 2 * channels, A(0));
    for (int64_t i = first; i < last; ++i) {
      const T* image = x + (i * call.channels + begin) * pixels;
      for (int64_t c = 0; c < channels; ++c) {
        A found(0), found_squares(0);
#pragma omp simd reduction(+ : found, found_squares)
        for (int64_t j = 0; j < pixels; ++j) {
          const A d = load(image[c * pixels + j]) - centre[c];
          found += d;
          found_squares += d * d;
        }
        sum[c] += found;
        squares[c] += found_squares;
      }
    }
    for (int64_t c = 0; c < channels; ++c) {
      const double off = double(sum[c]) / n;
      moments[c].merge({double(n), centre[c] + off, std::max(0.0, squares[c] - off * sum[c])});
      centre[c] = A(moments[c].mean);
    }
  }
}

template <class T>
void statistics(const NormActCall& call, const T* x, bool by_sample, void* mean_, void* variance_, void* unbiased_) {
  using A = accumulator_t<T>;
  const int64_t channels = call.channels;
  // [units, channels]; in NCHW a unit is a sample, or all of them where a block has several.
  const Units units(call);
  const bool small = !call.channels_last && !by_sample && 2 * call.pixels <= kSummed;
  const int64_t parts = call.channels_last ? units.count() : small ? 1 : call.samples;
  std::vector<Moments> moments(parts * channels);
  if (total(call) != 0 && call.channels_last) {
    in_parallel(call, parts, [&](int, int64_t begin, int64_t end) {
      for (int64_t u = begin; u < end; ++u)
        rows_moments(x + (units.sample(u) * call.pixels + units.begin(u)) * channels, units.end(u) - units.begin(u),
                     channels, moments.data() + u * channels);
    });
  } else if (total(call) != 0 && small) {
    in_parallel(call, channels,
                [&](int, int64_t begin, int64_t end) { images_moments(call, x, begin, end, moments.data() + begin); });
  } else if (total(call) != 0) {
    in_parallel(call, parts * channels, [&](int, int64_t begin, int64_t end) {
      for (int64_t row = begin; row < end; ++row) moments[row] = row_moments(x + row * call.pixels, call.pixels);
    });
  }
  A *mean = static_cast<A*>(mean_), *variance = static_cast<A*>(variance_), *unbiased = static_cast<A*>(unbiased_);
  const int64_t groups = by_sample ? call.samples : 1;
  const int64_t each = groups ? parts / groups : 0;
  for (int64_t group = 0; group < groups; ++group) {
    for (int64_t c = 0; c < channels; ++c) {
      Moments all;
      for (int64_t i = 0; i < each; ++i) all.merge(moments[(group * each + i) * channels + c]);
      const int64_t at = group * channels + c;
      mean[at] = A(all.mean);
      variance[at] = A(all.m2 / std::max(all.count, 1.0));
      unbiased[at] = A(all.m2 / std::max(all.count - 1, 1.0));
    }
  }
}

}  // namespace

void norm_act_statistics(const NormActCall& call, const void* input, bool by_sample, void* mean, void* variance,
                         void* unbiased) {
  with_dtype(call.dtype, [&](auto zero) {
    using T = decltype(zero);
    statistics(call, static_cast<const T*>(input), by_sample, mean, variance, unbiased);
  });
}

}  // namespace fastgan
