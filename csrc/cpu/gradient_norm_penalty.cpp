#include "gradient_norm_penalty.h"

#include <cmath>
#include <vector>

#include "fresh_memory.h"
#include "ranges.h"

namespace fastgan {
namespace {

// After so many elements a sum in float is handed to a double, which bounds its error however the loop was compiled.
constexpr int64_t kSummed = 256;

template <class T>
double sum_of_squares(const T* x, int64_t count) {
  double total = 0;
  for (int64_t from = 0; from < count; from += kSummed) {
    const int64_t end = std::min(from + kSummed, count);
    accumulator_t<T> part = 0;
#pragma omp simd reduction(+ : part)  // reassociation is allowed here
    for (int64_t i = from; i < end; ++i) {
      const accumulator_t<T> value = load(x[i]);
      part += value * value;
    }
    total += part;
  }
  return total;
}

template <class T>
void forward(const SamplesCall& call, const GradientNormPenalty& kind, const T* gradient, accumulator_t<T>* penalty,
             accumulator_t<T>* scale) {
  // Each block is summed by one thread, and blocks are added up in their order.
  const int64_t blocks = (call.length + kPiece - 1) / kPiece, all = call.samples * blocks;
  std::vector<double> sums(all);
  const int threads = threads_for(call.samples * call.length, call.threads);
#pragma omp parallel for num_threads(threads) schedule(static) if (threads > 1)
  for (int64_t i = 0; i < all; ++i) {
    const int64_t from = i % blocks * kPiece;
    const T* x = gradient + i / blocks * call.length + from;
    sums[i] = sum_of_squares(x, std::min(kPiece, call.length - from));
  }
  double total = 0;
  for (int64_t n = 0; n < call.samples; ++n) {
    double squares = 0;
    for (int64_t i = 0; i < blocks; ++i) squares += sums[n * blocks + i];
    double value = squares, slope = 1;  // the penalty's derivative, over 2 weight norm
    if (!std::isnan(kind.center)) {
      const double norm = std::sqrt(squares);
      double beyond = norm - kind.center;
      if (kind.one_sided && beyond < 0) beyond = 0;  // not so for NaN, which stays
      value = beyond * beyond;
      slope = norm == 0 ? 0 : beyond / norm;
    }
    total += kind.weight * value;
    scale[n] = static_cast<accumulator_t<T>>(2 * kind.weight * slope);
  }
  *penalty = static_cast<accumulator_t<T>>(total);
}

template <class T>
void backward(const SamplesCall& call, const T* gradient, const accumulator_t<T>* scale, accumulator_t<T> grad_output,
              T* grad_gradient) {
  const int64_t total = call.samples * call.length;
  for_ranges(total, call.threads, [&](int64_t begin, int64_t end) {
    FreshMemory fresh(grad_gradient, begin, total);
    for_pieces(call, begin, end, [&](int64_t sample, int64_t first, int64_t count) {
      fresh.reach(first + count);
      const accumulator_t<T> factor = grad_output * scale[sample];
      const T* g = gradient + first;
      T* result = grad_gradient + first;
#pragma omp simd
      for (int64_t i = 0; i < count; ++i) result[i] = Store<T>::from(factor * load(g[i]));
    });
  });
}

}  // namespace

void gradient_norm_penalty(const SamplesCall& call, const GradientNormPenalty& kind, const void* gradient,
                           void* penalty, void* scale) {
  with_dtype(call.dtype, [&](auto zero) {
    using T = decltype(zero);
    using A = accumulator_t<T>;
    forward(call, kind, static_cast<const T*>(gradient), static_cast<A*>(penalty), static_cast<A*>(scale));
  });
}

void gradient_norm_penalty_backward(const SamplesCall& call, const void* gradient, const void* scale,
                                    const void* grad_output, void* grad_gradient) {
  with_dtype(call.dtype, [&](auto zero) {
    using T = decltype(zero);
    using A = accumulator_t<T>;
    backward(call, static_cast<const T*>(gradient), static_cast<const A*>(scale), *static_cast<const A*>(grad_output),
             static_cast<T*>(grad_gradient));
  });
}

}  // namespace fastgan
