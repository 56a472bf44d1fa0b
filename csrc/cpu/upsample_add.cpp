#include "upsample_add.h"

#include <vector>

#include "fresh_memory.h"
#include "statistics.h"

namespace fastgan {
namespace {

template <class T>
struct UpsampleAdd {
  const UpsampleAddCall& call;
  const T *input, *low;
  T* output;

  int64_t rows() const { return call.planes * 2 * call.height; }
  int64_t length() const { return 2 * call.width * call.inner; }

  void write(int64_t row) const {
    const int64_t inner = call.inner, height = 2 * call.height;
    const T* x = input + row * length();
    const T* s = low + (row / height * call.height + row % height / 2) * call.width * inner;
    T* y = output + row * length();
    const auto sum = [x](int64_t at, T addend) { return Store<T>::from(load(x[at]) + load(addend)); };
    if (inner == 1) {
#pragma omp simd
      for (int64_t i = 0; i < call.width; ++i) {
        y[2 * i] = sum(2 * i, s[i]);
        y[2 * i + 1] = sum(2 * i + 1, s[i]);
      }
      return;
    }
    for (int64_t i = 0; i < call.width; ++i) {
      const int64_t left = 2 * i * inner, right = left + inner;
#pragma omp simd
      for (int64_t c = 0; c < inner; ++c) {
        y[left + c] = sum(left + c, s[i * inner + c]);
        y[right + c] = sum(right + c, s[i * inner + c]);
      }
    }
  }

  void run(int64_t begin, int64_t end, ChannelStatistics<T>* statistics) const {
    FreshMemory<T> fresh(output, begin * length(), rows() * length());
    for (int64_t row = begin; row < end; ++row) {
      fresh.reach((row + 1) * length());
      write(row);
      if (statistics) {
        const int64_t channel = call.inner == 1 ? row / (2 * call.height) % call.channels : 0;
        statistics->add(output + row * length(), 2 * call.width, call.inner, channel);
      }
    }
  }
};

template <class T>
void add(const UpsampleAddCall& call, const void* input, const void* low, void* output, void* statistics) {
  const UpsampleAdd<T> kernel{call, static_cast<const T*>(input), static_cast<const T*>(low), static_cast<T*>(output)};
  const int64_t rows = kernel.rows();
  const int threads = threads_for(rows * kernel.length(), call.threads);
  std::vector<ChannelStatistics<T>> parts;
  if (statistics) parts.assign(threads, ChannelStatistics<T>(call.channels));
#pragma omp parallel for num_threads(threads) schedule(static, 1) if (threads > 1)
  for (int thread = 0; thread < threads; ++thread)
    kernel.run(rows * thread / threads, rows * (thread + 1) / threads, statistics ? &parts[thread] : nullptr);
  if (statistics) merge_statistics(parts, call.channels, static_cast<accumulator_t<T>*>(statistics));
}

}  // namespace

void upsample_add(const UpsampleAddCall& call, const void* input, const void* low, void* output, void* statistics) {
  with_dtype(call.dtype, [&](auto zero) { add<decltype(zero)>(call, input, low, output, statistics); });
}

}  // namespace fastgan
