#include "interpolate_samples.h"

#include "fresh_memory.h"
#include "ranges.h"

namespace fastgan {
namespace {

template <class T>
void forward(const SamplesCall& call, const T* input, const T* other, const accumulator_t<T>* eps, T* output) {
  const int64_t total = call.samples * call.length;
  for_ranges(total, call.threads, [&](int64_t begin, int64_t end) {
    FreshMemory fresh(output, begin, total);
    for_pieces(call, begin, end, [&](int64_t sample, int64_t first, int64_t count) {
      fresh.reach(first + count);
      const accumulator_t<T> here = eps[sample], there = 1 - here;
      const T *x = input + first, *y = other + first;
      T* z = output + first;
#pragma omp simd
      for (int64_t i = 0; i < count; ++i) z[i] = Store<T>::from(here * load(x[i]) + there * load(y[i]));
    });
  });
}

template <class T>
void scale(const SamplesCall& call, const T* grad, const accumulator_t<T>* eps, T* input, T* other) {
  const int64_t total = call.samples * call.length;
  for_ranges(total, call.threads, [&](int64_t begin, int64_t end) {
    FreshMemory fresh_input(input, begin, total), fresh_other(other, begin, total);
    for_pieces(call, begin, end, [&](int64_t sample, int64_t first, int64_t count) {
      const accumulator_t<T> here = eps[sample], there = 1 - here;
      const T* g = grad + first;
      if (input) {
        fresh_input.reach(first + count);
        T* x = input + first;
#pragma omp simd
        for (int64_t i = 0; i < count; ++i) x[i] = Store<T>::from(here * load(g[i]));
      }
      if (other) {  // the piece of the gradient is in the cache
        fresh_other.reach(first + count);
        T* y = other + first;
#pragma omp simd
        for (int64_t i = 0; i < count; ++i) y[i] = Store<T>::from(there * load(g[i]));
      }
    });
  });
}

}  // namespace

void interpolate_samples(const SamplesCall& call, const void* input, const void* other, const void* eps, void* output) {
  with_dtype(call.dtype, [&](auto zero) {
    using T = decltype(zero);
    forward(call, static_cast<const T*>(input), static_cast<const T*>(other), static_cast<const accumulator_t<T>*>(eps),
            static_cast<T*>(output));
  });
}

void interpolate_samples_backward(const SamplesCall& call, const void* grad_output, const void* eps, void* grad_input,
                                  void* grad_other) {
  with_dtype(call.dtype, [&](auto zero) {
    using T = decltype(zero);
    scale(call, static_cast<const T*>(grad_output), static_cast<const accumulator_t<T>*>(eps),
          static_cast<T*>(grad_input), static_cast<T*>(grad_other));
  });
}

}  // namespace fastgan
