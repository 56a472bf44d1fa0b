#include "spectral_norm.h"

#include <array>
#include <cmath>
#include <limits>
#include <memory>

#include "../common/spectral_norm_math.h"
#include "fresh_memory.h"

namespace fastgan {
namespace {

// A weight is walked in units that lie together. Seen as [units, length, period], there is one entry of the vector x
// for each (unit, position in the period) and one entry of the vector y for each place along the length:
//   x[a, k] = Σ_j M[a, j, k] y[j]   is complete when a unit has been read ("dot"),
//   y[j] = Σ_a Σ_k M[a, j, k] x[a, k]   is gathered over units ("gather").
// Where the matrix's rows lie together (dim 0) a unit is a row, x is u and y is v. Otherwise (dim 1, a transposed
// convolution) a unit is a slice of the outer dimension, x is v and y is u.
struct Walk {
  int64_t units, length, period;
  bool x_is_u;

  explicit Walk(const SpectralShape& s)
      : units(s.outer == 1 ? s.rows : s.outer),
        length(s.outer == 1 ? s.inner : s.rows),
        period(s.outer == 1 ? 1 : s.inner),
        x_is_u(s.outer == 1) {}

  int64_t unit_size() const { return length * period; }
  int64_t size() const { return units * unit_size(); }
};

// Sums in the computation's type are handed to a double after so many terms, which bounds their error.
constexpr int64_t kSummed = 512;
constexpr int64_t kGathered = 64;
// Units handled together: y's traffic is shared, and the sums' latencies overlap.
constexpr int kTogether = 4;
// No piece of elementwise work is longer.
constexpr int64_t kPiece = 4096;
// Weights are handled in groups of at most so many bytes, if more than one: what the first pass has read is still in a
// cache for the second.
constexpr int64_t kCached = 4 << 20;

// Unit-stride patterns for a period longer than one: entry j of a unit has entry j % width of the pattern.
int64_t pattern_width(int64_t period) { return period == 1 ? 1 : period * std::max<int64_t>(1, 256 / period); }

// Calls body(first, count) for pieces of [0, total) no longer than a pattern, so that each starts a pattern.
template <class Body>
void for_patterns(int64_t total, int64_t width, Body body) {
  for (int64_t first = 0; first < total; first += width) body(first, std::min(width, total - first));
}

// How the threads share the units of a few consecutive weights: by bytes, whatever the weights' sizes.
struct Share {
  std::vector<int64_t> offsets;  // of each weight's first element
  std::vector<Walk> walks;
  int threads;

  Share(const std::vector<Walk>& walks_, int threads_) : walks(walks_) {
    int64_t total = 0;
    for (const Walk& walk : walks) {
      offsets.push_back(total);
      total += walk.size();
    }
    offsets.push_back(total);
    threads = threads_for(total, threads_);
  }

  int64_t bound(size_t i, int thread) const {
    const Walk& walk = walks[i];
    if (thread == threads) return walk.units;
    if (walk.unit_size() == 0) return thread == 0 ? 0 : walk.units;
    const int64_t element = offsets.back() * thread / threads - offsets[i];
    return std::clamp<int64_t>((element + walk.unit_size() - 1) / walk.unit_size(), 0, walk.units);
  }

  // Calls body(weight, first unit, last unit) for what a thread has to do.
  template <class Body>
  void run(int thread, Body body) const {
    for (size_t i = 0; i < walks.size(); ++i) {
      const int64_t begin = bound(i, thread), end = bound(i, thread + 1);
      if (begin < end) body(i, begin, end);
    }
  }
};

// Calls work(first weight, last weight) for runs of consecutive weights that fit in a cache together.
template <class Bytes, class Work>
void for_cached(size_t count, Bytes bytes, Work work) {
  for (size_t first = 0; first < count;) {
    size_t last = first;
    int64_t total = 0;
    do total += bytes(last++);
    while (last < count && total + bytes(last) <= kCached);
    work(first, last);
    first = last;
  }
}

template <class Body>
void in_parallel(int threads, Body body) {
  if (threads == 1) {
    body(0);
    return;
  }
#pragma omp parallel for num_threads(threads) schedule(static, 1)
  for (int thread = 0; thread < threads; ++thread) body(thread);
}

// Every entry of `y` repeated `period` times.
template <class A>
void spread(const A* y, int64_t length, int64_t period, A* wide) {
  for (int64_t j = 0; j < length; ++j) std::fill_n(wide + j * period, period, y[j]);
}

// `x`, the entries of one unit, over and over up to a pattern's width.
template <class A>
void repeat(const A* x, int64_t period, int64_t width, A* pattern) {
  for (int64_t j = 0; j < width; j += period) std::copy_n(x, period, pattern + j);
}

template <class A>
double norm_of(const A* x, int64_t count) {
  // Scaled by the largest entry, so that no square overflows or vanishes that the norm itself would not.
  A largest = 0;
  for (int64_t i = 0; i < count; ++i) largest = std::max(largest, std::abs(x[i]));
  if (!(largest > 0) || !std::isfinite(largest)) {
    A sum = 0;  // zero, infinity or NaN
    for (int64_t i = 0; i < count; ++i) sum += x[i] * x[i];
    return std::sqrt(sum);
  }
  double sum = 0;
  for (int64_t i = 0; i < count; ++i) sum += (x[i] / double(largest)) * (x[i] / double(largest));
  return largest * std::sqrt(sum);
}

template <class T, class A>
void load_all(const void* from, int64_t count, A* to) {
  for (int64_t i = 0; i < count; ++i) to[i] = load(static_cast<const T*>(from)[i]);
}

template <class T, class A>
void store_all(const A* from, int64_t count, void* to) {
  for (int64_t i = 0; i < count; ++i) static_cast<T*>(to)[i] = Store<T>::from(from[i]);
}

// The loops below take plain pointers and their counts from their arguments: through members GCC leaves the sums
// scalar.

// Products of `n` consecutive units of period one with y, in result.
template <int n, class T, class A>
void dot_units(const T* units, const A* y, int64_t length, A* result) {
  static_assert(n == 1 || n == 4);
  const T *m0 = units, *m1 = m0 + (n > 1) * length, *m2 = m0 + (n > 2) * 2 * length, *m3 = m0 + (n > 3) * 3 * length;
  double sum[4] = {};
  for (int64_t from = 0; from < length; from += kSummed) {
    const int64_t end = std::min(from + kSummed, length);
    A p0 = 0, p1 = 0, p2 = 0, p3 = 0;
    if constexpr (n == 1) {
#pragma omp simd reduction(+ : p0)  // reassociation is allowed here and below
      for (int64_t j = from; j < end; ++j) p0 += load(m0[j]) * y[j];
    } else {
#pragma omp simd reduction(+ : p0, p1, p2, p3)
      for (int64_t j = from; j < end; ++j) {
        const A along = y[j];
        p0 += load(m0[j]) * along;
        p1 += load(m1[j]) * along;
        p2 += load(m2[j]) * along;
        p3 += load(m3[j]) * along;
      }
    }
    sum[0] += p0, sum[1] += p1, sum[2] += p2, sum[3] += p3;
  }
  for (int i = 0; i < n; ++i) result[i] = static_cast<A>(sum[i]);
}

// Adds `n` consecutive units of period one, times their entries, to `into`.
template <int n, class T, class A>
void gather_units(const T* units, const A* entries, int64_t length, A* into) {
  static_assert(n == 1 || n == 4);
  if constexpr (n == 1) {
    const A e0 = entries[0];
#pragma omp simd
    for (int64_t j = 0; j < length; ++j) into[j] += load(units[j]) * e0;
  } else {
    const T *m1 = units + length, *m2 = units + 2 * length, *m3 = units + 3 * length;
    const A e0 = entries[0], e1 = entries[1], e2 = entries[2], e3 = entries[3];
#pragma omp simd
    for (int64_t j = 0; j < length; ++j)
      into[j] += (load(units[j]) * e0 + load(m1[j]) * e1) + (load(m2[j]) * e2 + load(m3[j]) * e3);
  }
}

// ---- power iteration ------------------------------------------------------------------------------------------------

enum class Pass { none, dot, gather, dot_and_gather };

// One weight on its way through the iterations.
template <class T>
struct Iteration {
  using A = accumulator_t<T>;

  const SpectralWeight& weight;
  const SpectralNormCall& call;
  Walk walk;
  bool dot_first;
  std::vector<A> x, y, wide_y, fresh_x;  // fresh_x: what the last dot gave
  A sigma = 0;
  Pass pass = Pass::none;

  Iteration(const SpectralWeight& weight_, const SpectralNormCall& call_)
      : weight(weight_),
        call(call_),
        walk(weight.shape),
        dot_first(walk.x_is_u != call.v_first),
        x(walk.units * walk.period),
        y(walk.length),
        wide_y(walk.period == 1 ? 0 : walk.unit_size()),
        fresh_x(x.size()) {
    load_all<T>(walk.x_is_u ? weight.u : weight.v, x.size(), x.data());
    load_all<T>(walk.x_is_u ? weight.v : weight.u, y.size(), y.data());
    spread_y();
  }

  const T* unit(int64_t a) const { return static_cast<const T*>(weight.weight) + a * walk.unit_size(); }

  void spread_y() {
    if (walk.period > 1) spread(y.data(), walk.length, walk.period, wide_y.data());
  }

  // One unit of any period; `pattern` holds pattern_width entries.
  void dot_pattern(int64_t a, A* result, A* pattern) const {
    const int64_t width = pattern_width(walk.period);
    const T* m = unit(a);
    std::fill_n(pattern, width, A(0));
    for_patterns(walk.unit_size(), width, [m, pattern, wide = wide_y.data()](int64_t first, int64_t count) {
      const T* part = m + first;
      const A* along = wide + first;
#pragma omp simd
      for (int64_t j = 0; j < count; ++j) pattern[j] += load(part[j]) * along[j];
    });
    for (int64_t k = 0; k < walk.period; ++k) {
      double sum = 0;
      for (int64_t j = k; j < width; j += walk.period) sum += pattern[j];
      result[k] = static_cast<A>(sum);
    }
  }

  void gather_pattern(int64_t a, const A* entries, A* into, A* pattern) const {
    const int64_t width = pattern_width(walk.period);
    const T* m = unit(a);
    repeat(entries, walk.period, width, pattern);
    for_patterns(walk.unit_size(), width, [m, into, pattern](int64_t first, int64_t count) {
      const T* part = m + first;
      A* sums = into + first;
#pragma omp simd
      for (int64_t j = 0; j < count; ++j) sums[j] += load(part[j]) * pattern[j];
    });
  }

  // A thread's units of the pass; what it gathers is added to `sums`, [length].
  void run(int64_t begin, int64_t end, double* sums) {
    const bool dots = pass != Pass::gather, gathers = pass != Pass::dot;
    const int64_t size = walk.unit_size(), period = walk.period;
    std::vector<A> into(gathers ? size : 0, A(0)), pattern(period == 1 ? 0 : pattern_width(period));
    const auto flush = [&] {
      for (int64_t j = 0; j < walk.length; ++j)
        for (int64_t k = 0; k < period; ++k) sums[j] += into[j * period + k];
      std::fill(into.begin(), into.end(), A(0));
    };
    int64_t gathered = 0;
    for (int64_t a = begin; a < end;) {
      const int64_t together = period == 1 && end - a >= kTogether ? kTogether : 1;
      A* fresh = fresh_x.data() + a * period;
      const A* entries = dots ? fresh : x.data() + a * period;
      if (period > 1) {
        if (dots) dot_pattern(a, fresh, pattern.data());
        if (gathers) gather_pattern(a, entries, into.data(), pattern.data());
      } else if (together == kTogether) {
        if (dots) dot_units<kTogether>(unit(a), y.data(), size, fresh);
        if (gathers) gather_units<kTogether>(unit(a), entries, size, into.data());
      } else {
        if (dots) dot_units<1>(unit(a), y.data(), size, fresh);
        if (gathers) gather_units<1>(unit(a), entries, size, into.data());
      }
      a += together;
      gathered += together;
      if (gathers && gathered >= kGathered) {
        flush();
        gathered = 0;
      }
    }
    if (gathers) flush();
  }

  // What the threads gathered, added up in their order.
  void collect(const std::vector<const double*>& partial) {
    for (int64_t j = 0; j < walk.length; ++j) {
      double sum = 0;
      for (const double* part : partial) sum += part[j];
      y[j] = static_cast<A>(sum);
    }
  }

  void normalize(std::vector<A>& vector) {
    const A norm = static_cast<A>(norm_of(vector.data(), vector.size()));
    const A scale = inverse_norm(norm, A(call.eps));
    for (A& entry : vector) entry *= scale;
    sigma = sigma_of_norm(norm, A(call.eps));
  }

  // The first pass of an iteration: the two products of "dot first" in one, x not normalised yet in the second.
  void begin() { pass = dot_first ? Pass::dot_and_gather : Pass::gather; }

  // After the first pass: what the second must do.
  void between(const std::vector<const double*>& partial) {
    if (!dot_first) {
      collect(partial);
      normalize(y);
      spread_y();
      pass = Pass::dot;
      return;
    }
    x = fresh_x;
    const A norm = static_cast<A>(norm_of(x.data(), x.size()));
    const A scale = inverse_norm(norm, A(call.eps));
    for (A& entry : x) entry *= scale;
    // Products with the unscaled x are as large as σ²: where that leaves the range, the second product is done again.
    constexpr A range = sizeof(A) == 4 ? A(1e15) : A(1e150);
    if (!(norm < range && norm > 1 / range)) {
      pass = Pass::gather;
      return;
    }
    pass = Pass::none;
    collect(partial);
    for (A& entry : y) entry *= scale;
    normalize(y);
    spread_y();
  }

  void end(const std::vector<const double*>& partial) {
    if (pass == Pass::dot) {
      x = fresh_x;
      normalize(x);
    } else if (pass == Pass::gather) {
      collect(partial);
      normalize(y);
      spread_y();
    }
    pass = Pass::none;
  }

  void sigma_of_given_vectors() {
    double sum = 0;
    for (size_t i = 0; i < x.size(); ++i) sum += double(x[i]) * fresh_x[i];
    sigma = static_cast<A>(sum);
    pass = Pass::none;
  }

  void store_vectors() const {
    *static_cast<A*>(weight.sigma) = sigma;
    store_all<T>(x.data(), x.size(), walk.x_is_u ? weight.new_u : weight.new_v);
    store_all<T>(y.data(), y.size(), walk.x_is_u ? weight.new_v : weight.new_u);
  }

  void divide(int64_t begin, int64_t end) const {
    if (!weight.output) return;
    const int64_t last = end * walk.unit_size();
    const T* m = unit(0);
    const A divisor = sigma;
    T* output = static_cast<T*>(weight.output);
    FreshMemory fresh(output, begin * walk.unit_size(), walk.size());
    for (int64_t first = begin * walk.unit_size(); first < last; first += kPiece) {
      const int64_t stop = std::min(first + kPiece, last);
      fresh.reach(stop);
#pragma omp simd
      for (int64_t j = first; j < stop; ++j) output[j] = Store<T>::from(load(m[j]) / divisor);
    }
  }
};

template <class T>
void normalize_group(const SpectralNormCall& call, const SpectralWeight* weights, size_t count) {
  std::vector<Iteration<T>> members;
  std::vector<Walk> walks;
  for (size_t i = 0; i < count; ++i) walks.push_back(members.emplace_back(weights[i], call).walk);
  const Share share(walks, call.threads);

  // Each thread's sums for each member it has a part of.
  std::vector<std::vector<std::vector<double>>> sums(count);
  std::vector<std::vector<const double*>> partial(count);
  for (size_t i = 0; i < count; ++i) {
    sums[i].resize(share.threads);
    for (int thread = 0; thread < share.threads; ++thread)
      if (share.bound(i, thread) < share.bound(i, thread + 1)) {
        sums[i][thread].resize(walks[i].length);
        partial[i].push_back(sums[i][thread].data());
      }
  }
  const auto pass = [&] {
    in_parallel(share.threads, [&](int thread) {
      share.run(thread, [&](size_t i, int64_t begin, int64_t end) {
        if (members[i].pass == Pass::none) return;
        std::fill(sums[i][thread].begin(), sums[i][thread].end(), 0.0);
        members[i].run(begin, end, sums[i][thread].data());
      });
    });
  };

  for (int iteration = 0; iteration < call.n_power_iterations; ++iteration) {
    for (auto& member : members) member.begin();
    pass();
    bool again = false;
    for (size_t i = 0; i < count; ++i) {
      members[i].between(partial[i]);
      again |= members[i].pass != Pass::none;
    }
    if (again) pass();
    for (size_t i = 0; i < count; ++i) members[i].end(partial[i]);
  }
  if (call.n_power_iterations == 0) {
    for (auto& member : members) member.pass = Pass::dot;
    pass();
    for (auto& member : members) member.sigma_of_given_vectors();
  }
  for (const auto& member : members) member.store_vectors();
  in_parallel(share.threads, [&](int thread) {
    share.run(thread, [&](size_t i, int64_t begin, int64_t end) { members[i].divide(begin, end); });
  });
}

// ---- derivatives ----------------------------------------------------------------------------------------------------

// E = u vᵀ along a walk: the entries of x, and those of y spread over the period.
template <class T>
struct Outer {
  using A = accumulator_t<T>;
  Walk walk;
  std::vector<A> x, y;

  Outer(const Walk& walk_, const void* u, const void* v)
      : walk(walk_), x(walk.units * walk.period), y(walk.unit_size()) {
    load_all<T>(walk.x_is_u ? u : v, x.size(), x.data());
    std::vector<A> along(walk.length);
    load_all<T>(walk.x_is_u ? v : u, along.size(), along.data());
    spread(along.data(), walk.length, walk.period, y.data());
  }

  // Calls body(first element, count, e) for pieces of the units, where e(j) is the piece's element j of E.
  template <class Body>
  void for_pieces(int64_t begin, int64_t end, Body body) const {
    const int64_t size = walk.unit_size(), period = walk.period;
    const int64_t width = period == 1 ? kPiece : pattern_width(period);
    std::vector<A> pattern(period == 1 ? 0 : width);
    for (int64_t a = begin; a < end; ++a) {
      if (period > 1) repeat(x.data() + a * period, period, width, pattern.data());
      for_patterns(size, width, [&](int64_t first, int64_t count) {
        const A* along = y.data() + first;
        if (period == 1) {
          const A entry = x[a];
          body(a * size + first, count, [=](int64_t j) { return entry * along[j]; });
        } else {
          const A* entries = pattern.data();
          body(a * size + first, count, [=](int64_t j) { return entries[j] * along[j]; });
        }
      });
    }
  }
};

// Σ body(j) for j from 0.
template <class A, class Body>
double summed(int64_t count, Body body) {
  double total = 0;
  for (int64_t from = 0; from < count; from += kSummed) {
    const int64_t end = std::min(from + kSummed, count);
    A part = 0;
#pragma omp simd reduction(+ : part)
    for (int64_t j = from; j < end; ++j) part += body(j);
    total += part;
  }
  return total;
}

template <class T>
double inner_product(const T* a, const T* b, int64_t count) {
  return summed<accumulator_t<T>>(count, [=](int64_t j) { return load(a[j]) * load(b[j]); });
}

// The two passes of a derivative over a group that fits in cache: sums over whole weights, then everything elementwise.
// sums(member, first unit, last unit) gives a thread's share of `n` sums; finish(member, sums) stores what the
// elementwise pass needs, apply(member, first unit, last unit) is that pass.
template <size_t n, class Sums, class Finish, class Apply>
void two_passes(const Share& share, Sums sums, Finish finish, Apply apply) {
  const size_t count = share.walks.size();
  std::vector<std::array<double, n>> partial(count * share.threads, std::array<double, n>{});
  in_parallel(share.threads, [&](int thread) {
    share.run(thread,
              [&](size_t i, int64_t begin, int64_t end) { partial[i * share.threads + thread] = sums(i, begin, end); });
  });
  for (size_t i = 0; i < count; ++i) {
    std::array<double, n> total{};
    for (int thread = 0; thread < share.threads; ++thread)
      for (size_t s = 0; s < n; ++s) total[s] += partial[i * share.threads + thread][s];
    finish(i, total);
  }
  in_parallel(share.threads, [&](int thread) { share.run(thread, apply); });
}

template <class T>
void correct(const Outer<T>& outer, const SpectralGradient<accumulator_t<T>>& gradient, const T* grad, T* result,
             int64_t begin, int64_t end) {
  FreshMemory fresh(result, begin * outer.walk.unit_size(), outer.walk.size());
  outer.for_pieces(begin, end, [&](int64_t first, int64_t count, auto e) {
    if (grad != result) fresh.reach(first + count);
    const T* g = grad + first;
    T* dw = result + first;
    const SpectralGradient<accumulator_t<T>> local = gradient;
#pragma omp simd
    for (int64_t j = 0; j < count; ++j) dw[j] = Store<T>::from(local(load(g[j]), e(j)));
  });
}

template <class T>
void backward_group(int threads, const SpectralGradientWeight* weights, size_t count) {
  using A = accumulator_t<T>;
  std::vector<Walk> walks;
  std::vector<Outer<T>> outers;
  for (size_t i = 0; i < count; ++i) {
    walks.emplace_back(weights[i].shape);
    outers.emplace_back(walks[i], weights[i].u, weights[i].v);
  }
  std::vector<SpectralGradient<A>> gradients(count, SpectralGradient<A>(A(1), A(0)));
  two_passes<1>(
      Share(walks, threads),
      [&](size_t i, int64_t begin, int64_t end) {
        const T *g = static_cast<const T*>(weights[i].grad_output), *w = static_cast<const T*>(weights[i].weight);
        const int64_t size = walks[i].unit_size();
        return std::array{inner_product(g + begin * size, w + begin * size, (end - begin) * size)};
      },
      [&](size_t i, const std::array<double, 1>& sums) {
        gradients[i] = SpectralGradient<A>(*static_cast<const A*>(weights[i].sigma), A(sums[0]));
      },
      [&](size_t i, int64_t begin, int64_t end) {
        correct(outers[i], gradients[i], static_cast<const T*>(weights[i].grad_output),
                static_cast<T*>(weights[i].grad_weight), begin, end);
      });
}

template <class T>
void double_backward_group(int threads, const SpectralSecondWeight* weights, size_t count) {
  using A = accumulator_t<T>;
  std::vector<Walk> walks;
  std::vector<Outer<T>> outers;
  for (size_t i = 0; i < count; ++i) {
    walks.emplace_back(weights[i].shape);
    outers.emplace_back(walks[i], weights[i].u, weights[i].v);
  }
  std::vector<SpectralSecond<A>> seconds(count, SpectralSecond<A>(A(1), A(0), A(0), A(0)));
  const auto tensor = [](const void* data) { return static_cast<const T*>(data); };
  two_passes<3>(
      Share(walks, threads),
      [&](size_t i, int64_t begin, int64_t end) {
        const T *h = tensor(weights[i].grad_grad_weight), *g = tensor(weights[i].grad_output);
        const T* w = tensor(weights[i].weight);
        const int64_t size = walks[i].unit_size();
        double h_e = 0;
        outers[i].for_pieces(begin, end, [&](int64_t first, int64_t piece, auto e) {
          h_e += summed<A>(piece, [=, part = h + first](int64_t j) { return load(part[j]) * e(j); });
        });
        const auto product = [&](const T* a, const T* b) {
          return inner_product(a + begin * size, b + begin * size, (end - begin) * size);
        };
        return std::array{product(g, w), h_e, product(h, g)};
      },
      [&](size_t i, const std::array<double, 3>& sums) {
        seconds[i] = SpectralSecond<A>(*static_cast<const A*>(weights[i].sigma), A(sums[0]), A(sums[1]), A(sums[2]));
      },
      [&](size_t i, int64_t begin, int64_t end) {
        const SpectralSecond<A> second = seconds[i];
        outers[i].for_pieces(begin, end, [&](int64_t first, int64_t piece, auto e) {
          const T *h = tensor(weights[i].grad_grad_weight) + first, *g = tensor(weights[i].grad_output) + first;
          const T* w = tensor(weights[i].weight) + first;
          T* dg = static_cast<T*>(weights[i].grad_grad_output) + first;
          T* dw = static_cast<T*>(weights[i].grad_weight) + first;
#pragma omp simd
          for (int64_t j = 0; j < piece; ++j) {
            dg[j] = Store<T>::from(second.grad_grad_output(load(h[j]), load(w[j])));
            dw[j] = Store<T>::from(second.grad_weight(load(g[j]), e(j)));
          }
        });
      });
}

}  // namespace

void spectral_norm(const SpectralNormCall& call, const std::vector<SpectralWeight>& weights) {
  with_dtype(call.dtype, [&](auto zero) {
    using T = decltype(zero);
    for_cached(
        weights.size(), [&](size_t i) { return Walk(weights[i].shape).size() * int64_t(sizeof(T)); },
        [&](size_t first, size_t last) { normalize_group<T>(call, weights.data() + first, last - first); });
  });
}

void spectral_norm_backward(DType dtype, int threads, const std::vector<SpectralGradientWeight>& weights) {
  with_dtype(dtype, [&](auto zero) {
    using T = decltype(zero);
    for_cached(
        weights.size(), [&](size_t i) { return 2 * Walk(weights[i].shape).size() * int64_t(sizeof(T)); },
        [&](size_t first, size_t last) { backward_group<T>(threads, weights.data() + first, last - first); });
  });
}

void spectral_norm_double_backward(DType dtype, int threads, const std::vector<SpectralSecondWeight>& weights) {
  with_dtype(dtype, [&](auto zero) {
    using T = decltype(zero);
    for_cached(
        weights.size(), [&](size_t i) { return 3 * Walk(weights[i].shape).size() * int64_t(sizeof(T)); },
        [&](size_t first, size_t last) { double_backward_group<T>(threads, weights.data() + first, last - first); });
  });
}

double spectral_norm_input_gradient(DType dtype, int threads, int64_t count, const void* input, void* grad_input,
                                    const void* sigma) {
  double total = 0;
  with_dtype(dtype, [&](auto zero) {
    using T = decltype(zero);
    using A = accumulator_t<T>;
    const A s = *static_cast<const A*>(sigma);
    const int used = threads_for(count, threads);
    std::vector<double> partial(used, 0.0);
    in_parallel(used, [&](int thread) {
      const int64_t begin = count * thread / used, end = count * (thread + 1) / used;
      const T* x = static_cast<const T*>(input) + begin;
      T* dx = static_cast<T*>(grad_input) + begin;
      partial[thread] = summed<A>(end - begin, [=](int64_t j) {
        const A gradient = load(dx[j]) / s;
        dx[j] = Store<T>::from(gradient);
        return load(x[j]) * gradient;
      });
    });
    for (const double part : partial) total += part;
  });
  return total;
}

void spectral_norm_weight_gradient(DType dtype, int threads, const SpectralShape& shape, void* grad, const void* sigma,
                                   const void* u, const void* v, double grad_dot_output) {
  with_dtype(dtype, [&](auto zero) {
    using T = decltype(zero);
    using A = accumulator_t<T>;
    const Outer<T> outer(Walk(shape), u, v);
    const A s = *static_cast<const A*>(sigma);
    const SpectralGradient<A> gradient(s, A(grad_dot_output) * s);
    T* g = static_cast<T*>(grad);
    const Share share({outer.walk}, threads);
    in_parallel(share.threads, [&](int thread) {
      share.run(thread, [&](size_t, int64_t begin, int64_t end) { correct(outer, gradient, g, g, begin, end); });
    });
  });
}

}  // namespace fastgan
