#include "bias_act.h"

#include <algorithm>
#include <cmath>
#include <tuple>
#include <vector>

#include "../common/bias_act_math.h"
#include "fresh_memory.h"

namespace fastgan {
namespace {

// Rows shorter than this are handled as one period with the bias spread out over it: a vector loop over 16 pixels
// would be all prologue.
constexpr int64_t kShortRow = 64;
constexpr int64_t kShortestPeriod = 512;
// Beyond this the period's sums would leave the cache.
constexpr int64_t kLongestPeriod = 65536;
// No piece of work is longer.
constexpr int64_t kPiece = 4096;
// After so many elements a sum in float is handed to a double, which bounds its error however the loop was compiled.
constexpr int64_t kSummed = 256;

// How a kernel walks memory: in rows of `length` elements. Either all elements of a row have one channel, or (periodic)
// element j of every row has the bias `spread[j]`.
struct Rows {
  int64_t length, total;
  bool periodic;

  explicit Rows(const BiasActCall& call, bool has_bias) : total(call.outer * call.channels * call.inner) {
    const int64_t period = call.channels * call.inner;
    periodic = has_bias && call.channels > 1 && call.inner < kShortRow && (call.inner == 1 || period <= kLongestPeriod);
    if (periodic) {
      const int64_t repeats = std::max<int64_t>(1, (kShortestPeriod + period - 1) / period);
      length = period * std::min(repeats, call.outer);
    } else {
      length = has_bias && call.channels > 1 ? call.inner : std::max<int64_t>(1, total);
    }
  }
};

int64_t channel_of(const BiasActCall& call, int64_t element) { return element / call.inner % call.channels; }

// Calls work(thread, begin, end) on disjoint ranges covering [0, total).
template <class Work>
void in_parallel(int64_t total, int threads, Work work) {
  const int used = threads_for(total, threads);
  if (used == 1) {
    work(0, int64_t{0}, total);
    return;
  }
#pragma omp parallel for num_threads(used) schedule(static, 1)
  for (int thread = 0; thread < used; ++thread) {
    // Ranges end on whole cache lines.
    const auto bound = [&](int t) { return t == used ? total : total * t / used / 64 * 64; };
    work(thread, bound(thread), bound(thread + 1));
  }
}

// Calls body(first element, column in its row, count) for each piece of a row in [begin, end).
template <class Body>
void for_pieces(const Rows& rows, int64_t begin, int64_t end, Body body) {
  int64_t column = begin % rows.length;
  while (begin < end) {
    const int64_t count = std::min({rows.length - column, end - begin, kPiece});
    body(begin, column, count);
    begin += count;
    column = (column + count) % rows.length;
  }
}

// Most slopes are functions of the output: there the bias is not read, and bias_at is 0.
template <class T, bool reads_bias>
struct Kernel {
  using A = accumulator_t<T>;

  BiasActCall call;
  BiasActParameters<A> p;
  const T* bias;
  Rows rows;
  std::vector<A> spread;  // the bias of each element of a period

  Kernel(const BiasActCall& call_, const void* bias_, bool by_channel)
      : call(call_),
        p{A(call.alpha), A(call.gain), call.gain != 0 ? A(1 / call.gain) : A(0), round_to<T>(A(call.clamp))},
        bias(static_cast<const T*>(bias_)),
        rows(call, by_channel) {
    if (reads_bias && rows.periodic) {
      spread.reserve(rows.length);
      while (static_cast<int64_t>(spread.size()) < rows.length)
        for (int64_t c = 0; c < call.channels; ++c)
          spread.insert(spread.end(), call.inner, bias ? load(bias[c]) : A(0));
    }
  }

  // The bias of a piece's element j, in rows that are periodic and in others.
  auto bias_from_column(int64_t column) const {
    if constexpr (reads_bias) {
      return [at = spread.data() + column](int64_t j) { return at[j]; };
    } else {
      return [](int64_t) { return A(0); };
    }
  }
  auto bias_of_channel(int64_t channel) const {
    return [constant = reads_bias && bias ? load(bias[channel]) : A(0)](int64_t) { return constant; };
  }

  // Calls body(first element, count, bias_at). The outputs are those that body writes.
  template <class Body, class... Outputs>
  void run(Body body, Outputs*... outputs) const {
    in_parallel(rows.total, call.threads, [&](int, int64_t begin, int64_t end) {
      std::tuple fresh{FreshMemory(outputs, begin, rows.total)...};
      for_pieces(rows, begin, end, [&](int64_t first, int64_t column, int64_t count) {
        std::apply([&](auto&... each) { (each.reach(first + count), ...); }, fresh);
        if constexpr (reads_bias) {
          if (rows.periodic) return body(first, count, bias_from_column(column));
        }
        body(first, count, bias_of_channel(channel_of(call, first)));
      });
    });
  }
};

template <class T>
void forward(const BiasActCall& call, const T* input, const void* bias, T* output) {
  using A = accumulator_t<T>;
  const Kernel<T, true> kernel(call, bias, bias != nullptr);
  const auto p = kernel.p;
  // Where data come from cache, a gain of 1 and a clamp that is not there are half of the instructions.
  const bool plain = call.gain == 1 && std::isnan(call.clamp);
  with_activation_value(call.act, [&](auto act) {
    using Act = decltype(act);
    const auto run = [&](auto value) {
      kernel.run(
          [&](int64_t first, int64_t count, auto bias_at) {
            const T* x = input + first;
            T* y = output + first;
#pragma omp simd
            for (int64_t j = 0; j < count; ++j) y[j] = Store<T>::from(value(load(x[j]) + bias_at(j)));
          },
          output);
    };
    if (plain) {
      run([p](A z) { return Act::value(z, p.alpha); });
    } else {
      run([p](A z) { return bias_act_value<Act>(z, p); });
    }
  });
}

template <class T>
void backward(const BiasActCall& call, const T* grad_output, const T* saved, const void* bias, T* grad_input) {
  with_activation_slope(call.act, [&](auto act) {
    using Act = decltype(act);
    const Kernel<T, Act::from_input> kernel(call, bias, bias != nullptr);
    const auto p = kernel.p;
    kernel.run(
        [&](int64_t first, int64_t count, auto bias_at) {
          const T *dy = grad_output + first, *s = saved + first;
          T* dx = grad_input + first;
#pragma omp simd
          for (int64_t j = 0; j < count; ++j)
            dx[j] = Store<T>::from(bias_act_gradient<T, Act>(load(dy[j]), s[j], bias_at(j), p));
        },
        grad_input);
  });
}

// The same with the bias's gradient gathered on the way; rows follow the channels even where no bias is read.
template <class T>
void backward_with_bias(const BiasActCall& call, const T* grad_output, const T* saved, const void* bias, T* grad_input,
                        T* grad_bias) {
  using A = accumulator_t<T>;
  const Rows rows(call, true);
  const int64_t columns = rows.periodic ? rows.length : call.channels;
  const int threads = threads_for(rows.total, call.threads);
  std::vector<double> sums(columns * threads, 0.0);
  std::vector<A> runs(rows.periodic ? columns * threads : 0, A(0));  // of each thread, allocated outside of them

  with_activation_slope(call.act, [&](auto act) {
    using Act = decltype(act);
    const Kernel<T, Act::from_input> kernel(call, bias, true);
    const auto p = kernel.p;
    in_parallel(rows.total, call.threads, [&](int thread, int64_t begin, int64_t end) {
      double* sum = sums.data() + thread * columns;
      FreshMemory fresh(grad_input, begin, rows.total);
      if (rows.periodic) {
        A* run = runs.data() + thread * columns;
        int64_t pieces = 0;
        const auto flush = [&] {
          for (int64_t j = 0; j < columns; ++j) sum[j] += run[j];
          std::fill_n(run, columns, A(0));
          pieces = 0;
        };
        for_pieces(rows, begin, end, [&](int64_t first, int64_t column, int64_t count) {
          fresh.reach(first + count);
          const auto bias_at = kernel.bias_from_column(column);
          const T *dy = grad_output + first, *s = saved + first;
          T* dx = grad_input + first;
          A* into = run + column;
#pragma omp simd
          for (int64_t j = 0; j < count; ++j) {
            const A grad = bias_act_gradient<T, Act>(load(dy[j]), s[j], bias_at(j), p);
            dx[j] = Store<T>::from(grad);
            into[j] += grad;
          }
          if (++pieces == 64) flush();
        });
        flush();
      } else {
        for_pieces(rows, begin, end, [&](int64_t first, int64_t, int64_t count) {
          fresh.reach(first + count);
          const int64_t channel = channel_of(call, first);
          const auto bias_at = kernel.bias_of_channel(channel);
          const T *dy = grad_output + first, *s = saved + first;
          T* dx = grad_input + first;
          double total = 0;
          for (int64_t from = 0; from < count; from += kSummed) {
            A part = 0;
#pragma omp simd reduction(+ : part)  // reassociation is allowed here
            for (int64_t j = from; j < std::min(from + kSummed, count); ++j) {
              const A grad = bias_act_gradient<T, Act>(load(dy[j]), s[j], bias_at(j), p);
              dx[j] = Store<T>::from(grad);
              part += grad;
            }
            total += part;
          }
          sum[channel] += total;
        });
      }
    });
  });

  // Columns of one channel lie together, `inner` at a time where rows are periods, one otherwise.
  const int64_t together = rows.periodic ? call.inner : 1;
  std::vector<double> channel(call.channels, 0.0);
  for (size_t i = 0; i < sums.size();)
    for (int64_t c = 0; c < call.channels; ++c)
      for (int64_t j = 0; j < together; ++j) channel[c] += sums[i++];
  for (int64_t c = 0; c < call.channels; ++c) grad_bias[c] = Store<T>::from(static_cast<A>(channel[c]));
}

template <class T>
void double_backward(const BiasActCall& call, const T* grad_grad_input, const T* grad_output, const T* saved,
                     const void* bias, T* grad_grad_output, T* grad_saved) {
  with_activation_slope(call.act, [&](auto act) {
    using Act = decltype(act);
    const Kernel<T, Act::from_input> kernel(call, bias, bias != nullptr);
    const auto p = kernel.p;
    kernel.run(
        [&](int64_t first, int64_t count, auto bias_at) {
          const T *ddx = grad_grad_input + first, *dy = grad_output + first, *s = saved + first;
          T *ddy = grad_grad_output + first, *ds = grad_saved + first;
#pragma omp simd
          for (int64_t j = 0; j < count; ++j) {
            const auto g = load(ddx[j]);
            ddy[j] = Store<T>::from(bias_act_gradient<T, Act>(g, s[j], bias_at(j), p));
            ds[j] = Store<T>::from(bias_act_saved_gradient<T, Act>(g, load(dy[j]), s[j], bias_at(j), p));
          }
        },
        grad_grad_output, grad_saved);
  });
}

bool is_empty(const BiasActCall& call) { return call.outer * call.channels * call.inner == 0; }

}  // namespace

void bias_act(const BiasActCall& call, const void* input, const void* bias, void* output) {
  if (is_empty(call)) return;
  with_dtype(call.dtype, [&](auto zero) {
    using T = decltype(zero);
    forward(call, static_cast<const T*>(input), bias, static_cast<T*>(output));
  });
}

void bias_act_backward(const BiasActCall& call_, const void* grad_output, const void* saved, const void* bias,
                       void* grad_input, void* grad_bias) {
  const BiasActCall call = sharing_slopes(call_);
  with_dtype(call.dtype, [&](auto zero) {
    using T = decltype(zero);
    const T *dy = static_cast<const T*>(grad_output), *s = static_cast<const T*>(saved);
    T *dx = static_cast<T*>(grad_input), *db = static_cast<T*>(grad_bias);
    if (is_empty(call)) {
      if (db) std::fill_n(db, call.channels, T{});
    } else if (db) {
      backward_with_bias(call, dy, s, bias, dx, db);
    } else {
      backward(call, dy, s, bias, dx);
    }
  });
}

void bias_act_double_backward(const BiasActCall& call_, const void* grad_grad_input, const void* grad_output,
                              const void* saved, const void* bias, void* grad_grad_output, void* grad_saved) {
  const BiasActCall call = sharing_slopes(call_);
  if (is_empty(call)) return;
  with_dtype(call.dtype, [&](auto zero) {
    using T = decltype(zero);
    double_backward(call, static_cast<const T*>(grad_grad_input), static_cast<const T*>(grad_output),
                    static_cast<const T*>(saved), bias, static_cast<T*>(grad_grad_output), static_cast<T*>(grad_saved));
  });
}

}  // namespace fastgan
