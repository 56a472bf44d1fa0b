// norm_act by the mean square of each pixel over its channels.
#include "fresh_memory.h"
#include "norm_act_units.h"

namespace fastgan {
using namespace norm_act;

namespace {

// Pixels that the two passes go over at once in NCHW.
constexpr int64_t kTile = 256;

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
  with_piecewise_linear_slope(call.act, [&](auto act) {
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

}  // namespace

void norm_act_pixel_forward(const NormActCall& call, const NormActParameters& parameters, const void* input,
                            void* output) {
  unless_empty(call, [&](auto zero) {
    using T = decltype(zero);
    pixel_forward(call, parameters, static_cast<const T*>(input), static_cast<T*>(output));
  });
}

void norm_act_pixel_backward(const NormActCall& call_, const NormActParameters& parameters, const void* grad_output,
                             const void* input, void* grad_input, void* result) {
  const NormActCall call = sharing_slopes(call_);
  zero_sums(call, result);
  unless_empty(call, [&](auto zero) {
    using T = decltype(zero);
    pixel_backward(call, parameters, static_cast<const T*>(grad_output), static_cast<const T*>(input),
                   static_cast<T*>(grad_input), result);
  });
}

}  // namespace fastgan
