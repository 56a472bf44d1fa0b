// norm_act by statistics of channels: its values, and its derivatives.
#include "fresh_memory.h"
#include "norm_act_units.h"

namespace fastgan {
using namespace norm_act;

namespace {

// Writes each element of `output` once. NCHW: row_body(n, c) gives a function of (x, dy) for a row of one channel;
// channels_last: channel_body(n) gives a function of (x, dy, c) for the rows of one sample.
template <class T, class Row, class Channel>
void map(const NormActCall& call, const T* x, const T* dy, T* output, Row row_body, Channel channel_body) {
  const int64_t channels = call.channels, pixels = call.pixels;
  const Units units(call);
  if (!call.channels_last) {
    in_parallel(call, call.samples * channels, [&](int, int64_t begin, int64_t end) {
      FreshMemory fresh(output, begin * pixels, total(call));
      int64_t n = begin / channels, c = begin % channels;
      for (int64_t row = begin; row < end; ++row) {
        const auto body = row_body(n, c);
        if (++c == channels) c = 0, ++n;
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
  with_piecewise_linear_slope(call.act, [&](auto act) {
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
  with_piecewise_linear_slope(call.act, [&](auto act) {
    using Act = decltype(act);
    if (!call.channels_last) {
      in_parallel(call, call.samples * channels, [&](int, int64_t begin, int64_t end) {
        int64_t n = begin / channels, c = begin % channels;
        for (int64_t row = begin; row < end; ++row) {
          const GradientSums found =
              row_sums<Act>(x + row * pixels, dy + row * pixels, pixels, affine.at(n, c), alpha, gain);
          products[row] = A(found.product * affine.factor(n, c));
          gradients[row] = A(found.gradient);
          if (++c == channels) c = 0, ++n;
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

}  // namespace

void norm_act_forward(const NormActCall& call, const NormActParameters& parameters, const void* input, void* output) {
  unless_empty(call, [&](auto zero) {
    using T = decltype(zero);
    forward(call, parameters, static_cast<const T*>(input), static_cast<T*>(output));
  });
}

void norm_act_sums(const NormActCall& call_, const NormActParameters& parameters, const void* grad_output,
                   const void* input, void* result) {
  const NormActCall call = sharing_slopes(call_);
  zero_sums(call, result);
  unless_empty(call, [&](auto zero) {
    using T = decltype(zero);
    sums(call, parameters, static_cast<const T*>(grad_output), static_cast<const T*>(input), result);
  });
}

void norm_act_input_gradient(const NormActCall& call_, const NormActParameters& parameters, const void* grad_output,
                             const void* input, const void* moments, void* grad_input) {
  const NormActCall call = sharing_slopes(call_);
  unless_empty(call, [&](auto zero) {
    using T = decltype(zero);
    input_gradient(call, parameters, static_cast<const T*>(grad_output), static_cast<const T*>(input), moments,
                   static_cast<T*>(grad_input));
  });
}

}  // namespace fastgan
