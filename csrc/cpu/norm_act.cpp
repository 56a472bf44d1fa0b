#include "norm_act.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "../common/norm_act_math.h"
#include "fresh_memory.h"

namespace fastgan {
namespace {

// After so many terms a sum in float is handed to a double, which bounds its error however the loop was compiled.
constexpr int64_t kSummed = 256;
// Elements of a block of channels_last rows that is read twice: the second time from the nearest cache.
constexpr int64_t kBlock = 8192;
// Pixels that the two passes of pixel norm go over at once in NCHW.
constexpr int64_t kTile = 256;
// A sample is shared among threads in pieces no shorter than this.
constexpr int64_t kShortestPiece = 64;

// Count, mean and sum of squared deviations of the values seen so far.
struct Moments {
  double count = 0, mean = 0, squares = 0;

  // Chan, Golub and LeVeque: nothing cancels, however far the means are from zero.
  void merge(double other_count, double other_mean, double other_squares) {
    if (other_count == 0) return;
    const double total = count + other_count, distance = other_mean - mean, part = other_count / total;
    squares += other_squares + distance * distance * count * part;
    mean += distance * part;
    count = total;
  }
};

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

int64_t total(const NormActCall& call) { return call.samples * call.channels * call.pixels; }

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
  double eps;

  Affine(const NormActCall& call, const NormActParameters& p)
      : mean(static_cast<const A*>(p.mean)),
        variance(static_cast<const A*>(p.variance)),
        weight(static_cast<const A*>(p.weight)),
        bias(static_cast<const A*>(p.bias)),
        statistics_by_sample(p.statistics_by_sample),
        weight_by_sample(p.weight_by_sample),
        bias_by_sample(p.bias_by_sample),
        channels(call.channels),
        eps(call.eps) {}

  A weight_at(int64_t n, int64_t c) const { return weight ? weight[weight_by_sample ? n * channels + c : c] : A(1); }
  A bias_at(int64_t n, int64_t c) const { return bias ? bias[bias_by_sample ? n * channels + c : c] : A(0); }
  int64_t statistic(int64_t n, int64_t c) const { return statistics_by_sample ? n * channels + c : c; }
  A mean_at(int64_t n, int64_t c) const { return mean ? mean[statistic(n, c)] : A(0); }
  // 1 / deviation
  A factor(int64_t n, int64_t c) const { return variance ? A(1 / std::sqrt(variance[statistic(n, c)] + eps)) : A(1); }
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

// ---- statistics ----

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
    moments.merge(n, centre + off, std::max(0.0, squares - off * sum));
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
      moments[c].merge(n, centre[c] + off, std::max(0.0, squares[c] - off * sum[c]));
      centre[c] = A(moments[c].mean);
    }
  }
}

template <class T>
void statistics(const NormActCall& call, const T* x, bool by_sample, void* mean_, void* variance_, void* unbiased_) {
  using A = accumulator_t<T>;
  const int64_t channels = call.channels;
  // [units, channels]; in NCHW a unit is a sample.
  const Units units(call);
  const int64_t parts = call.channels_last ? units.count() : call.samples;
  std::vector<Moments> moments(parts * channels);
  if (total(call) != 0 && call.channels_last) {
    in_parallel(call, parts, [&](int, int64_t begin, int64_t end) {
      for (int64_t u = begin; u < end; ++u)
        rows_moments(x + (units.sample(u) * call.pixels + units.begin(u)) * channels, units.end(u) - units.begin(u),
                     channels, moments.data() + u * channels);
    });
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
      for (int64_t i = 0; i < each; ++i) {
        const Moments& part = moments[(group * each + i) * channels + c];
        all.merge(part.count, part.mean, part.squares);
      }
      const int64_t at = group * channels + c;
      mean[at] = A(all.mean);
      variance[at] = A(all.squares / std::max(all.count, 1.0));
      unbiased[at] = A(all.squares / std::max(all.count - 1, 1.0));
    }
  }
}

// ---- elementwise passes ----

// Writes each element of `output` once. NCHW: row_body(n, c) gives a function of (x, dy) for a row of one channel;
// channels_last: channel_body(n) gives a function of (x, dy, c) for the rows of one sample.
template <class T, class Row, class Channel>
void map(const NormActCall& call, const T* x, const T* dy, T* output, Row row_body, Channel channel_body) {
  const int64_t channels = call.channels, pixels = call.pixels;
  const Units units(call);
  if (!call.channels_last) {
    in_parallel(call, call.samples * channels, [&](int, int64_t begin, int64_t end) {
      FreshMemory fresh(output, begin * pixels, total(call));
      for (int64_t row = begin; row < end; ++row) {
        const auto body = row_body(row / channels, row % channels);
        fresh.reach((row + 1) * pixels);
        const T *xs = x + row * pixels, *dys = dy + row * pixels;
        T* ys = output + row * pixels;
#pragma omp simd
        for (int64_t j = 0; j < pixels; ++j) ys[j] = Store<T>::from(body(load(xs[j]), load(dys[j])));
      }
    });
    return;
  }
  in_parallel(call, units.count(), [&](int thread, int64_t begin, int64_t end) {
    const auto start = [&](int64_t u) { return (units.sample(u) * pixels + units.begin(u)) * channels; };
    FreshMemory fresh(output, start(begin), total(call));
    for (int64_t u = begin; u < end; ++u) {
      const auto body = channel_body(thread, units.sample(u));
      const int64_t rows = units.end(u) - units.begin(u);
      for (int64_t i = 0; i < rows; ++i) {
        const int64_t first = start(u) + i * channels;
        fresh.reach(first + channels);
        const T *xs = x + first, *dys = dy + first;
        T* ys = output + first;
#pragma omp simd
        for (int64_t c = 0; c < channels; ++c) ys[c] = Store<T>::from(body(load(xs[c]), load(dys[c]), c));
      }
    }
  });
}

int threads_of(const NormActCall& call) { return std::max(call.threads, 1); }

template <class T>
void forward(const NormActCall& call, const NormActParameters& parameters, const T* x, T* y) {
  using A = accumulator_t<T>;
  const Affine<A> affine(call, parameters);
  const A alpha(call.alpha), gain(call.gain);
  std::vector<AffineRow<A>> rows(threads_of(call), AffineRow<A>(call.channels_last ? call.channels : 0));
  with_piecewise_linear(call.act, [&](auto act) {
    using Act = decltype(act);
    map(
        call, x, x, y,
        [&](int64_t n, int64_t c) {
          return
              [at = affine.at(n, c), alpha, gain](A value, A) { return norm_act_value<Act>(value, at, alpha, gain); };
        },
        [&](int thread, int64_t n) {
          rows[thread].fill(affine, n);
          const A *mean = rows[thread].mean.data(), *scale = rows[thread].scale.data(),
                  *shift = rows[thread].shift.data();
          return [=](A value, A, int64_t c) {
            return norm_act_value<Act>(value, NormActAffine<A>{mean[c], scale[c], shift[c]}, alpha, gain);
          };
        });
  });
}

// The part of a row's gradient that the statistics add: constant + slope (x - mean).
template <class A>
struct Correction {
  A constant, slope;
};

template <class A>
Correction<A> correction(const Affine<A>& affine, const A* moments, int64_t groups, int64_t n, int64_t c) {
  if (!moments) return {A(0), A(0)};
  const A factor = affine.factor(n, c);
  const int64_t at = affine.statistic(n, c);
  return {-factor * moments[groups * affine.channels + at], -factor * factor * moments[at]};
}

template <class T>
void input_gradient(const NormActCall& call, const NormActParameters& parameters, const T* dy, const T* x,
                    const void* moments_, T* dx) {
  using A = accumulator_t<T>;
  const Affine<A> affine(call, parameters);
  const A alpha(call.alpha), gain(call.gain);
  const A* moments = static_cast<const A*>(moments_);
  const int64_t groups = affine.statistics_by_sample ? call.samples : 1;
  const int64_t length = call.channels_last ? call.channels : 0;
  std::vector<AffineRow<A>> rows(threads_of(call), AffineRow<A>(length));
  std::vector<A> corrections(2 * length * threads_of(call));
  with_piecewise_linear(call.act, [&](auto act) {
    using Act = decltype(act);
    map(
        call, x, dy, dx,
        [&](int64_t n, int64_t c) {
          return
              [at = affine.at(n, c), more = correction(affine, moments, groups, n, c), alpha, gain](A value, A grad) {
                return norm_act_gradient<Act>(grad, value, at, alpha, gain) * at.scale +
                       (more.slope * (value - at.mean) + more.constant);
              };
        },
        [&](int thread, int64_t n) {
          rows[thread].fill(affine, n);
          A *constant = corrections.data() + 2 * length * thread, *slope = constant + length;
          for (int64_t c = 0; c < length; ++c) {
            const Correction<A> more = correction(affine, moments, groups, n, c);
            constant[c] = more.constant;
            slope[c] = more.slope;
          }
          const A *mean = rows[thread].mean.data(), *scale = rows[thread].scale.data(),
                  *shift = rows[thread].shift.data();
          return [=](A value, A grad, int64_t c) {
            const NormActAffine<A> at{mean[c], scale[c], shift[c]};
            return norm_act_gradient<Act>(grad, value, at, alpha, gain) * at.scale +
                   (slope[c] * (value - at.mean) + constant[c]);
          };
        });
  });
}

// ---- sums ----

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

struct GradientSums {
  double product = 0, gradient = 0;
};

// Over a row of one channel, of g (x - mean) and of g.
template <class Act, class T, class A>
GradientSums row_sums(const T* x, const T* dy, int64_t count, const NormActAffine<A> at, const A alpha, const A gain) {
  GradientSums sums;
  for (int64_t first = 0; first < count; first += kSummed) {
    const int64_t n = std::min(kSummed, count - first);
    A product(0), gradient(0);
#pragma omp simd reduction(+ : product, gradient)
    for (int64_t j = 0; j < n; ++j) {
      const A value = load(x[first + j]);
      const A g = norm_act_gradient<Act>(load(dy[first + j]), value, at, alpha, gain);
      product += g * (value - at.mean);
      gradient += g;
    }
    sums.product += product;
    sums.gradient += gradient;
  }
  return sums;
}

template <class T>
void sums(const NormActCall& call, const NormActParameters& parameters, const T* dy, const T* x, void* sums_) {
  using A = accumulator_t<T>;
  const Affine<A> affine(call, parameters);
  const A alpha(call.alpha), gain(call.gain);
  const int64_t channels = call.channels, pixels = call.pixels;
  A *products = static_cast<A*>(sums_), *gradients = products + call.samples * channels;
  with_piecewise_linear(call.act, [&](auto act) {
    using Act = decltype(act);
    if (!call.channels_last) {
      in_parallel(call, call.samples * channels, [&](int, int64_t begin, int64_t end) {
        for (int64_t row = begin; row < end; ++row) {
          const int64_t n = row / channels, c = row % channels;
          const GradientSums found =
              row_sums<Act>(x + row * pixels, dy + row * pixels, pixels, affine.at(n, c), alpha, gain);
          products[row] = A(found.product * affine.factor(n, c));
          gradients[row] = A(found.gradient);
        }
      });
      return;
    }
    const Units units(call);
    std::vector<double> partial(2 * units.count() * channels, 0.0);
    in_parallel(call, units.count(), [&](int, int64_t begin, int64_t end) {
      AffineRow<A> parameters_row(channels);
      const A *mean = parameters_row.mean.data(), *scale = parameters_row.scale.data(),
              *shift = parameters_row.shift.data();
      std::vector<A> run(2 * channels, A(0));
      A *run_product = run.data(), *run_gradient = run_product + channels;
      for (int64_t u = begin; u < end; ++u) {
        const int64_t n = units.sample(u), last = units.end(u);
        parameters_row.fill(affine, n);
        double *product = partial.data() + 2 * u * channels, *gradient = product + channels;
        for (int64_t first = units.begin(u); first < last; first += kSummed) {
          for (int64_t i = first; i < std::min(last, first + kSummed); ++i) {
            const T *xs = x + (n * pixels + i) * channels, *dys = dy + (n * pixels + i) * channels;
#pragma omp simd
            for (int64_t c = 0; c < channels; ++c) {
              const A value = load(xs[c]);
              const A g = norm_act_gradient<Act>(load(dys[c]), value, NormActAffine<A>{mean[c], scale[c], shift[c]},
                                                 alpha, gain);
              run_product[c] += g * (value - mean[c]);
              run_gradient[c] += g;
            }
          }
          for (int64_t c = 0; c < channels; ++c) product[c] += run_product[c], gradient[c] += run_gradient[c];
          std::fill(run.begin(), run.end(), A(0));
        }
        for (int64_t c = 0; c < channels; ++c) product[c] *= affine.factor(n, c);
      }
    });
    add_units(units, channels, partial, products, gradients);
  });
}

// ---- pixel norm ----

template <class T>
void pixel_forward(const NormActCall& call, const NormActParameters& parameters, const T* x, T* y) {
  using A = accumulator_t<T>;
  const Affine<A> affine(call, parameters);
  const A alpha(call.alpha), gain(call.gain);
  const int64_t channels = call.channels, pixels = call.pixels;
  const Units units(call);
  with_piecewise_linear(call.act, [&](auto act) {
    using Act = decltype(act);
    in_parallel(call, units.count(), [&](int, int64_t begin, int64_t end) {
      AffineRow<A> row(channels);
      const A *scale = row.scale.data(), *shift = row.shift.data();
      std::vector<A> factors(kTile);
      A* factor = factors.data();
      FreshMemory fresh(y, (units.sample(begin) * pixels + units.begin(begin)) * channels, total(call));
      for (int64_t u = begin; u < end; ++u) {
        const int64_t n = units.sample(u), last = units.end(u);
        row.fill(affine, n);
        const T* sample = x + n * channels * pixels;
        T* out = y + n * channels * pixels;
        if (call.channels_last) {
          for (int64_t i = units.begin(u); i < last; ++i) {
            const T* xs = sample + i * channels;
            T* ys = out + i * channels;
            fresh.reach((n * pixels + i + 1) * channels);
            A squares(0);
#pragma omp simd reduction(+ : squares)
            for (int64_t c = 0; c < channels; ++c) squares += load(xs[c]) * load(xs[c]);
            const A r = A(1) / std::sqrt(squares / A(channels) + A(call.eps));
#pragma omp simd
            for (int64_t c = 0; c < channels; ++c)
              ys[c] = Store<T>::from(Act::value(load(xs[c]) * r * scale[c] + shift[c], alpha) * gain);
          }
          continue;
        }
        for (int64_t first = units.begin(u); first < last; first += kTile) {
          const int64_t count = std::min(kTile, last - first);
          std::fill_n(factor, count, A(0));
          for (int64_t c = 0; c < channels; ++c) {
            const T* xs = sample + c * pixels + first;
#pragma omp simd
            for (int64_t j = 0; j < count; ++j) factor[j] += load(xs[j]) * load(xs[j]);
          }
#pragma omp simd
          for (int64_t j = 0; j < count; ++j) factor[j] = A(1) / std::sqrt(factor[j] / A(channels) + A(call.eps));
          for (int64_t c = 0; c < channels; ++c) {
            const T* xs = sample + c * pixels + first;
            T* ys = out + c * pixels + first;
            const A k = scale[c], b = shift[c];
#pragma omp simd
            for (int64_t j = 0; j < count; ++j)
              ys[j] = Store<T>::from(Act::value(load(xs[j]) * factor[j] * k + b, alpha) * gain);
          }
        }
      }
    });
  });
}

template <class T>
void pixel_backward(const NormActCall& call, const NormActParameters& parameters, const T* dy, const T* x, T* dx,
                    void* sums_) {
  using A = accumulator_t<T>;
  const Affine<A> affine(call, parameters);
  const A alpha(call.alpha), gain(call.gain);
  const int64_t channels = call.channels, pixels = call.pixels;
  const Units units(call);
  std::vector<double> partial(2 * units.count() * channels, 0.0);
  with_piecewise_linear(call.act, [&](auto act) {
    using Act = decltype(act);
    in_parallel(call, units.count(), [&](int, int64_t begin, int64_t end) {
      AffineRow<A> row(channels);
      const A *scale = row.scale.data(), *shift = row.shift.data();
      std::vector<A> buffer(2 * kTile + 2 * channels, A(0));
      A *factor = buffer.data(), *mean = factor + kTile, *run_product = mean + kTile,
        *run_gradient = run_product + channels;
      FreshMemory fresh(dx, (units.sample(begin) * pixels + units.begin(begin)) * channels, total(call));
      const auto slope = [&](A normed, A k, A b) { return gain * Act::slope(normed * k + b, alpha); };
      for (int64_t u = begin; u < end; ++u) {
        const int64_t n = units.sample(u), last = units.end(u);
        row.fill(affine, n);
        const int64_t sample = n * channels * pixels;
        double *product = partial.data() + 2 * u * channels, *gradient = product + channels;
        for (int64_t first = units.begin(u); first < last; first += kTile) {
          const int64_t count = std::min(kTile, last - first);
          if (call.channels_last) {
            for (int64_t i = first; i < first + count; ++i) {
              const T *xs = x + sample + i * channels, *dys = dy + sample + i * channels;
              T* dxs = dx + sample + i * channels;
              fresh.reach(sample + (i + 1) * channels);
              A squares(0), dot(0);
#pragma omp simd reduction(+ : squares)
              for (int64_t c = 0; c < channels; ++c) squares += load(xs[c]) * load(xs[c]);
              const A r = A(1) / std::sqrt(squares / A(channels) + A(call.eps));
#pragma omp simd reduction(+ : dot)
              for (int64_t c = 0; c < channels; ++c) {
                const A normed = load(xs[c]) * r, g = load(dys[c]) * slope(normed, scale[c], shift[c]);
                run_product[c] += g * normed;
                run_gradient[c] += g;
                dot += g * scale[c] * normed;
              }
              dot /= A(channels);
#pragma omp simd
              for (int64_t c = 0; c < channels; ++c) {
                const A normed = load(xs[c]) * r, g = load(dys[c]) * slope(normed, scale[c], shift[c]);
                dxs[c] = Store<T>::from(r * (g * scale[c] - normed * dot));
              }
            }
          } else {
            std::fill_n(factor, 2 * kTile, A(0));
            for (int64_t c = 0; c < channels; ++c) {
              const T* xs = x + sample + c * pixels + first;
#pragma omp simd
              for (int64_t j = 0; j < count; ++j) factor[j] += load(xs[j]) * load(xs[j]);
            }
#pragma omp simd
            for (int64_t j = 0; j < count; ++j) factor[j] = A(1) / std::sqrt(factor[j] / A(channels) + A(call.eps));
            for (int64_t c = 0; c < channels; ++c) {
              const T *xs = x + sample + c * pixels + first, *dys = dy + sample + c * pixels + first;
              const A k = scale[c], b = shift[c];
              A a(0), total_gradient(0);
#pragma omp simd reduction(+ : a, total_gradient)
              for (int64_t j = 0; j < count; ++j) {
                const A normed = load(xs[j]) * factor[j], g = load(dys[j]) * slope(normed, k, b);
                a += g * normed;
                total_gradient += g;
                mean[j] += g * k * normed;
              }
              run_product[c] = a;
              run_gradient[c] = total_gradient;
            }
            for (int64_t c = 0; c < channels; ++c) {
              const T *xs = x + sample + c * pixels + first, *dys = dy + sample + c * pixels + first;
              T* dxs = dx + sample + c * pixels + first;
              const A k = scale[c], b = shift[c];
#pragma omp simd
              for (int64_t j = 0; j < count; ++j) {
                const A normed = load(xs[j]) * factor[j], g = load(dys[j]) * slope(normed, k, b);
                dxs[j] = Store<T>::from(factor[j] * (g * k - normed * (mean[j] / A(channels))));
              }
            }
          }
          for (int64_t c = 0; c < channels; ++c) product[c] += run_product[c], gradient[c] += run_gradient[c];
          std::fill_n(run_product, 2 * channels, A(0));
        }
      }
    });
  });
  A* products = static_cast<A*>(sums_);
  add_units(units, channels, partial, products, products + call.samples * channels);
}

// Calls body(zero of the storage type) if there is anything to do.
template <class Body>
void unless_empty(const NormActCall& call, Body body) {
  if (total(call) != 0) with_dtype(call.dtype, body);
}

void zero_sums(const NormActCall& call, void* sums) {
  const int64_t count = 2 * call.samples * call.channels;
  if (total(call) != 0) return;
  if (call.dtype == DType::float64) {
    std::fill_n(static_cast<double*>(sums), count, 0.0);
  } else {
    std::fill_n(static_cast<float*>(sums), count, 0.0f);
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

void norm_act_forward(const NormActCall& call, const NormActParameters& parameters, const void* input, void* output) {
  unless_empty(call, [&](auto zero) {
    using T = decltype(zero);
    forward(call, parameters, static_cast<const T*>(input), static_cast<T*>(output));
  });
}

void norm_act_sums(const NormActCall& call, const NormActParameters& parameters, const void* grad_output,
                   const void* input, void* result) {
  zero_sums(call, result);
  unless_empty(call, [&](auto zero) {
    using T = decltype(zero);
    sums(call, parameters, static_cast<const T*>(grad_output), static_cast<const T*>(input), result);
  });
}

void norm_act_input_gradient(const NormActCall& call, const NormActParameters& parameters, const void* grad_output,
                             const void* input, const void* moments, void* grad_input) {
  unless_empty(call, [&](auto zero) {
    using T = decltype(zero);
    input_gradient(call, parameters, static_cast<const T*>(grad_output), static_cast<const T*>(input), moments,
                   static_cast<T*>(grad_input));
  });
}

void norm_act_pixel_forward(const NormActCall& call, const NormActParameters& parameters, const void* input,
                            void* output) {
  unless_empty(call, [&](auto zero) {
    using T = decltype(zero);
    pixel_forward(call, parameters, static_cast<const T*>(input), static_cast<T*>(output));
  });
}

void norm_act_pixel_backward(const NormActCall& call, const NormActParameters& parameters, const void* grad_output,
                             const void* input, void* grad_input, void* result) {
  zero_sums(call, result);
  unless_empty(call, [&](auto zero) {
    using T = decltype(zero);
    pixel_backward(call, parameters, static_cast<const T*>(grad_output), static_cast<const T*>(input),
                   static_cast<T*>(grad_input), result);
  });
}

}  // namespace fastgan
