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
  const T *input, *input_gate, *output_gate, *bias;
  T* output;

  int64_t out_height() const { return call.height - 1 + 2 * call.padding; }
  int64_t out_width() const { return call.width - 1 + 2 * call.padding; }
  int64_t rows() const { return call.planes * out_height(); }
  int64_t out_length() const { return out_width() * call.inner; }
  // Of a row of the input with its padding.
  int64_t padded() const { return (call.width + 2 * call.padding) * call.inner; }

  // sums[i] = the values of input row y, or added to those there: the padding's elements are left alone.
  template <class Act, bool add>
  void read(int64_t plane, int64_t y, A* sums) const {
    const int64_t length = call.width * call.inner;
    const int64_t first = (plane * call.height + y) * length;
    const T* x = input + first;
    const A alpha = A(call.alpha);
    A* to = sums + call.padding * call.inner;
    if (input_gate) {
      const T* gate = input_gate + first;
#pragma omp simd
      for (int64_t i = 0; i < length; ++i) to[i] = (add ? to[i] : A(0)) + gated<Act>(load(x[i]), load(gate[i]), alpha);
    } else {
#pragma omp simd
      for (int64_t i = 0; i < length; ++i) to[i] = (add ? to[i] : A(0)) + activated<Act>(load(x[i]), alpha);
    }
  }

  template <class Act>
  void read_both(int64_t plane, int64_t y, A* sums) const {
    if (y < 0) return read<Act, false>(plane, 0, sums);
    read<Act, false>(plane, y, sums);
    if (y + 1 < call.height) read<Act, true>(plane, y + 1, sums);
  }

  // One row of the output from the sums over two rows of the input.
  template <class Act>
  void write(int64_t row, const A* sums) const {
    const int64_t inner = call.inner, length = out_length();
    const A scale = A(call.scale), alpha = A(call.alpha);
    T* y = output + row * length;
    if (output_gate) {
      const T* gate = output_gate + row * length;
#pragma omp simd
      for (int64_t i = 0; i < length; ++i)
        y[i] = Store<T>::from(gated<Act>(scale * (sums[i] + sums[i + inner]), load(gate[i]), alpha));
    } else if (!bias || inner == 1) {
      const A constant = bias ? load(bias[channel_of(row)]) : A(0);
#pragma omp simd
      for (int64_t i = 0; i < length; ++i) y[i] = Store<T>::from(scale * (sums[i] + sums[i + inner]) + constant);
    } else {
      for (int64_t x = 0; x < length; x += inner)
#pragma omp simd
        for (int64_t c = 0; c < inner; ++c)
          y[x + c] = Store<T>::from(scale * (sums[x + c] + sums[x + c + inner]) + load(bias[c]));
    }
  }

  int64_t channel_of(int64_t row) const { return call.inner == 1 ? row / out_height() % call.channels : 0; }

  template <class Act>
  void run(int64_t begin, int64_t end, ChannelStatistics<T>* statistics) const {
    std::vector<A> sums(padded());
    FreshMemory<T> fresh(output, begin * out_length(), rows() * out_length());
    for (int64_t row = begin; row < end; ++row) {
      const int64_t plane = row / out_height();
      const int64_t y = row % out_height() - call.padding;  // the upper of the two rows
      if (output_gate)
        read_both<activation::Linear>(plane, y, sums.data());
      else
        read_both<Act>(plane, y, sums.data());
      fresh.reach((row + 1) * out_length());
      write<Act>(row, sums.data());
      if (statistics) statistics->add(output + row * out_length(), out_width(), call.inner, channel_of(row));
    }
  }
};

template <class T>
void box(const BoxFilter2dCall& call, const void* input, const void* input_gate, const void* output_gate,
         const void* bias, void* output, void* statistics) {
  const Box<T> kernel{call,
                      static_cast<const T*>(input),
                      static_cast<const T*>(input_gate),
                      static_cast<const T*>(output_gate),
                      static_cast<const T*>(bias),
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
                  const void* bias, void* output, void* statistics) {
  with_dtype(call.dtype,
             [&](auto zero) { box<decltype(zero)>(call, input, input_gate, output_gate, bias, output, statistics); });
}

}  // namespace fastgan
