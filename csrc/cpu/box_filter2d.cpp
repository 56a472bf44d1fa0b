#include "box_filter2d.h"

#include <algorithm>
#include <type_traits>
#include <vector>

#include "../common/bias_act_math.h"
#include "fresh_memory.h"
#include "statistics.h"

namespace fastgan {
namespace {

// A choice without a branch: the ends of short rows are scalar code, in which half of the signs would be mispredicted.
template <class A>
inline A choose(bool condition, A yes, A no) {
  using Bits = std::conditional_t<sizeof(A) == 4, uint32_t, uint64_t>;
  const Bits mask = -Bits(condition);
  return bit_cast<A>((bit_cast<Bits>(yes) & mask) | (bit_cast<Bits>(no) & ~mask));
}

// The derivative of the activation at the gate, times x. In all three it is 1 above zero.
template <class A>
struct Gated {
  A below;

  explicit Gated(const BoxFilter2dCall& call) : below(call.act == activation::Linear::code ? A(1) : A(call.alpha)) {}
  A operator()(A x, A gate) const { return x * choose(gate > A(0), A(1), below); }
};

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
  int64_t channel_of(int64_t plane) const { return call.inner == 1 ? plane % call.channels : 0; }

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
    // Beyond the first and the last pixel there are zeros. From left to right, as the memory is read ahead.
#pragma omp simd
    for (int64_t i = 0; i < inner; ++i) step(i, value(i));
#pragma omp simd
    for (int64_t i = inner; i < length - inner; ++i) step(i, value(i - inner) + value(i));
#pragma omp simd
    for (int64_t i = length - inner; i < length; ++i) step(i, value(i - inner));
  }

  // The same for input row y of a plane, which is zero outside of it.
  template <class Value, class Finish>
  void read(int64_t plane, int64_t y, Value value, A* above, Finish finish) const {
    const int64_t first = (plane * call.height + y) * in_length();
    if (y >= 0 && y < call.height) return sweep([=](int64_t i) { return value(first + i); }, above, finish);
#pragma omp simd
    for (int64_t i = 0; i < out_length(); ++i) {
      finish(i, above[i]);
      above[i] = A(0);
    }
  }

  // Of the elements of a row: their biases, and with a residual what both come to.
  struct Addends {
    std::vector<A> biases, sums;

    Addends(int64_t biased, int64_t summed) : biases(biased), sums(summed) {}
  };

  // Rows [begin, end) of the output: value(at) is what is summed of the input's element `at`, and finish(at, i, sum)
  // writes the output's element `at`, the i-th of its row. Not inlined: together the loops have more bounds and
  // pointers than there are registers.
  template <class Value, class Finish>
  [[gnu::noinline]] void walk(int64_t begin, int64_t end, Addends& addends, ChannelStatistics<T>* statistics,
                              Value value, Finish finish) const {
    const int64_t height = out_height(), length = out_length();
    std::vector<A> pairs(length);
    A* above = pairs.data();
    FreshMemory<T> fresh(output, begin * length, rows() * length);
    int64_t plane = begin / height, y = begin % height;
    for (int64_t row = begin; row < end; ++row) {
      const int64_t upper = y - call.padding;  // of the two input rows
      if (row == begin || y == 0) {
        read(plane, upper, value, above, [](int64_t, A) {});
        if (bias) spread(channel_of(plane), addends.biases);
      }
      if (residual) add(residual + row * length, addends);
      fresh.reach((row + 1) * length);
      read(plane, upper + 1, value, above, [=, at = row * length](int64_t i, A sum) { finish(at + i, i, sum); });
      if (statistics) statistics->add(output + row * length, out_width(), call.inner, channel_of(plane));
      if (++y == height) {
        y = 0;
        ++plane;
      }
    }
  }

  void run(int64_t begin, int64_t end, ChannelStatistics<T>* statistics) const {
    const A scale = A(call.scale), alpha = A(call.alpha);
    const Gated<A> gated(sharing_slopes(call));
    Addends addends(bias ? out_length() : 0, residual ? out_length() : 0);
    const T* x = input;
    T* y = output;
    const auto write = [&](auto value) {
      if (bias || residual) {
        const A* b = (residual ? addends.sums : addends.biases).data();
        walk(begin, end, addends, statistics, value,
             [=](int64_t at, int64_t i, A sum) { y[at] = Store<T>::from(scale * sum + b[i]); });
      } else {
        walk(begin, end, addends, statistics, value,
             [=](int64_t at, int64_t, A sum) { y[at] = Store<T>::from(scale * sum); });
      }
    };
    if (output_gate) {  // what the adjoint reads has not been activated
      walk(
          begin, end, addends, statistics, [=](int64_t at) { return load(x[at]); },
          [=, gate = output_gate](int64_t at, int64_t, A sum) {
            y[at] = Store<T>::from(gated(scale * sum, load(gate[at])));
          });
    } else if (input_gate) {
      write([=, gate = input_gate](int64_t at) { return gated(load(x[at]), load(gate[at])); });
    } else if (call.act == activation::LeakyRelu::code && call.inner == 1) {  // the rows are short: no branch
      write([=](int64_t at) { return gated(load(x[at]), load(x[at])); });
    } else {
      with_piecewise_linear(call.act, [&](auto act) {
        using Act = decltype(act);
        write([=](int64_t at) { return Act::value(load(x[at]), alpha); });
      });
    }
  }

  // The bias of each element of a row.
  void spread(int64_t channel, std::vector<A>& biases) const {
    for (int64_t i = 0; i < out_length(); ++i) biases[i] = load(bias[call.inner == 1 ? channel : i % call.inner]);
  }

  // What is added to each element of a row: its residual and, if there is one, its bias.
  void add(const T* row, Addends& addends) const {
    const int64_t length = out_length();
    A* sum = addends.sums.data();
#pragma omp simd
    for (int64_t i = 0; i < length; ++i) sum[i] = load(row[i]);
    if (!bias) return;
    const A* b = addends.biases.data();
#pragma omp simd
    for (int64_t i = 0; i < length; ++i) sum[i] += b[i];
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
#pragma omp parallel for num_threads(threads) schedule(static, 1) if (threads > 1)
  for (int thread = 0; thread < threads; ++thread)
    kernel.run(rows * thread / threads, rows * (thread + 1) / threads, statistics ? &parts[thread] : nullptr);
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
