#include "box_filter2d.h"

#include <algorithm>
#include <optional>
#include <vector>

#include "../common/bias_act_math.h"
#include "fresh_memory.h"
#include "statistics.h"

namespace fastgan {
namespace {

// Before the sum: act(x).
template <class Act, class A>
inline A activated(A x, A alpha) {
  return Act::value(x, alpha);
}

// The derivative of that at the gate, times x.
template <class Act, class A>
inline A gated(A x, A gate, A alpha) {
  return x * Act::slope(gate, alpha);
}

template <class Body>
void with_piecewise_linear(int code, Body&& body) {
  switch (code) {
    case 0: return body(activation::Linear{});
    case 1: return body(activation::Relu{});
    default: return body(activation::LeakyRelu{});
  }
}

template <class T>
struct Box {
  using A = accumulator_t<T>;

  const BoxFilter2dCall& call;
  const T *input, *input_gate, *output_gate, *bias, *residual;
  T* output;

  int64_t out_height() const { return call.height - 1 + 2 * call.padding; }
  int64_t out_width() const { return call.width - 1 + 2 * call.padding; }
  int64_t rows() const { return call.planes * out_height(); }
  int64_t in_length() const { return call.width * call.inner; }
  int64_t out_length() const { return out_width() * call.inner; }
  int64_t channel_of(int64_t row) const { return call.inner == 1 ? row / out_height() % call.channels : 0; }

  // Calls finish(i, sum) for each element of a row of the output, with sum that of two neighbours of an input row and
  // of what `above` holds, which then holds the former.
  template <class Value, class Finish>
  void sweep(Value value, A* above, Finish finish) const {
    const int64_t inner = call.inner, length = out_length();
    const auto step = [&](int64_t i, A pair) {
      const A sum = above[i] + pair;
      above[i] = pair;
      finish(i, sum);
    };
    if (call.padding == 0) {
#pragma omp simd
      for (int64_t i = 0; i < length; ++i) step(i, value(i) + value(i + inner));
      return;
    }
#pragma omp simd
    for (int64_t i = 0; i < inner; ++i) step(i, value(i));
#pragma omp simd
    for (int64_t i = inner; i < length - inner; ++i) step(i, value(i - inner) + value(i));
#pragma omp simd
    for (int64_t i = length - inner; i < length; ++i) step(i, value(i - inner));
  }

  // The same for input row y of a plane, which is zero outside of it.
  template <class Act, class Finish>
  void read(int64_t plane, int64_t y, A* above, Finish finish) const {
    if (y < 0 || y >= call.height) return sweep([](int64_t) { return A(0); }, above, finish);
    const int64_t first = (plane * call.height + y) * in_length();
    const T* x = input + first;
    const A alpha = A(call.alpha);
    if (input_gate) {
      const T* gate = input_gate + first;
      sweep([=](int64_t i) { return gated<Act>(load(x[i]), load(gate[i]), alpha); }, above, finish);
    } else {
      sweep([=](int64_t i) { return activated<Act>(load(x[i]), alpha); }, above, finish);
    }
  }

  template <class Act>
  void run(int64_t begin, int64_t end, ChannelStatistics<T>* statistics) const {
    const int64_t length = out_length();
    const A scale = A(call.scale), alpha = A(call.alpha);
    std::vector<A> pairs(length), biases(bias ? length : 0), sums(residual ? length : 0);
    A* above = pairs.data();
    FreshMemory<T> fresh(output, begin * length, rows() * length);
    for (int64_t row = begin; row < end; ++row) {
      const int64_t plane = row / out_height();
      const int64_t upper = row % out_height() - call.padding;  // of the two input rows
      const bool first = row == begin || row % out_height() == 0;
      fresh.reach((row + 1) * length);
      T* y = output + row * length;
      if (output_gate) {  // what the adjoint reads has not been activated
        if (first) read<activation::Linear>(plane, upper, above, [](int64_t, A) {});
        const T* gate = output_gate + row * length;
        read<activation::Linear>(plane, upper + 1, above, [=](int64_t i, A sum) {
          y[i] = Store<T>::from(gated<Act>(scale * sum, load(gate[i]), alpha));
        });
      } else {
        if (first) read<Act>(plane, upper, above, [](int64_t, A) {});
        if (bias && first) spread(channel_of(row), biases);
        if (bias || residual) {
          const A* b = residual ? added(residual + row * length, biases, sums) : biases.data();
          read<Act>(plane, upper + 1, above, [=](int64_t i, A sum) { y[i] = Store<T>::from(scale * sum + b[i]); });
        } else {
          read<Act>(plane, upper + 1, above, [=](int64_t i, A sum) { y[i] = Store<T>::from(scale * sum); });
        }
      }
      if (statistics) statistics->add(y, out_width(), call.inner, channel_of(row));
    }
  }

  // The bias of each element of a row.
  void spread(int64_t channel, std::vector<A>& biases) const {
    for (int64_t i = 0; i < out_length(); ++i) biases[i] = load(bias[call.inner == 1 ? channel : i % call.inner]);
  }

  // What is added to each element of a row: its bias, if there is one, and its residual.
  const A* added(const T* row, const std::vector<A>& biases, std::vector<A>& sums) const {
    const int64_t length = out_length();
    A* sum = sums.data();
#pragma omp simd
    for (int64_t i = 0; i < length; ++i) sum[i] = load(row[i]);
    if (bias) {
      const A* b = biases.data();
#pragma omp simd
      for (int64_t i = 0; i < length; ++i) sum[i] += b[i];
    }
    return sum;
  }
};

template <class T>
void box(const BoxFilter2dCall& call, const void* input, const void* input_gate, const void* output_gate,
         const void* bias, const void* residual, void* output, void* statistics) {
  const Box<T> kernel{call,
                      static_cast<const T*>(input),
                      static_cast<const T*>(input_gate),
                      static_cast<const T*>(output_gate),
                      static_cast<const T*>(bias),
                      static_cast<const T*>(residual),
                      static_cast<T*>(output)};
  const int64_t rows = kernel.rows();
  const int threads = threads_for(rows * kernel.out_length(), call.threads);
  std::vector<ChannelStatistics<T>> parts;
  if (statistics) parts.assign(threads, ChannelStatistics<T>(call.channels));
  with_piecewise_linear(call.act, [&](auto act) {
    using Act = decltype(act);
#pragma omp parallel for num_threads(threads) schedule(static, 1) if (threads > 1)
    for (int thread = 0; thread < threads; ++thread)
      kernel.template run<Act>(rows * thread / threads, rows * (thread + 1) / threads,
                               statistics ? &parts[thread] : nullptr);
  });
  if (statistics) merge_statistics(parts, call.channels, static_cast<accumulator_t<T>*>(statistics));
}

}  // namespace

void box_filter2d(const BoxFilter2dCall& call, const void* input, const void* input_gate, const void* output_gate,
                  const void* bias, const void* residual, void* output, void* statistics) {
  with_dtype(call.dtype, [&](auto zero) {
    box<decltype(zero)>(call, input, input_gate, output_gate, bias, residual, output, statistics);
  });
}

}  // namespace fastgan
