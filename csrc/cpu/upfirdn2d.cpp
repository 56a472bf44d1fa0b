#include "upfirdn2d.h"

#include <algorithm>
#include <numeric>
#include <vector>

#include "fresh_memory.h"

namespace fastgan {
namespace {

// Everything here is a sum of weighted rows; so many of them are added up in registers at a time.
constexpr int kMostSources = 6;
// A strip of columns has so many elements, so that what lies between the two passes stays in the first cache.
constexpr int64_t kStrip = 4096;
// Pixels of so many elements are filtered one by one; shorter ones in one long row.
constexpr int64_t kLongPixel = 16;

template <class A, class In>
struct Sources {
  const In* rows[kMostSources];
  A weights[kMostSources];
};

// target[i] = start[i] + sum of weights[j] rows[j][i].
template <int N, bool HasStart, class A, class In, class Out>
void add_rows(const Sources<A, In>& sources, const A* start, Out* target, int64_t length) {
#pragma omp simd
  for (int64_t i = 0; i < length; ++i) {
    A sum = HasStart ? start[i] : A(0);
    for (int j = 0; j < N; ++j) sum += sources.weights[j] * load(sources.rows[j][i]);
    target[i] = Store<Out>::from(sum);
  }
}

template <bool HasStart, class A, class In, class Out>
void add_some_rows(const Sources<A, In>& sources, int64_t count, const A* start, Out* target, int64_t length) {
  switch (count) {
    case 0: return add_rows<0, HasStart>(sources, start, target, length);
    case 1: return add_rows<1, HasStart>(sources, start, target, length);
    case 2: return add_rows<2, HasStart>(sources, start, target, length);
    case 3: return add_rows<3, HasStart>(sources, start, target, length);
    case 4: return add_rows<4, HasStart>(sources, start, target, length);
    case 5: return add_rows<5, HasStart>(sources, start, target, length);
    case 6: return add_rows<6, HasStart>(sources, start, target, length);
  }
}

// target = start + sum over j < count of weight(j) row(j), where a null start is zeros. More rows than fit in registers
// meet in `spare`, of `length` elements; it may be `start`.
template <class A, class Out, class Weight, class Row>
void combine(int64_t count, Weight weight, Row row, const A* start, A* spare, Out* target, int64_t length) {
  using In = std::remove_const_t<std::remove_pointer_t<decltype(row(int64_t{0}))>>;
  int64_t done = 0;
  do {
    Sources<A, In> sources;
    const int64_t some = std::min<int64_t>(count - done, kMostSources);
    for (int64_t j = 0; j < some; ++j) {
      sources.rows[j] = row(done + j);
      sources.weights[j] = weight(done + j);
    }
    done += some;
    if (done < count) {
      start ? add_some_rows<true>(sources, some, start, spare, length)
            : add_some_rows<false>(sources, some, start, spare, length);
      start = spare;
    } else {
      start ? add_some_rows<true>(sources, some, start, target, length)
            : add_some_rows<false>(sources, some, start, target, length);
    }
  } while (done < count);
}

// The taps in the order in which they are read, the gain in them.
template <class A>
struct Filter {
  std::vector<A> y;  // [y.taps], of a separable one only
  std::vector<A> x;  // [x.taps], or [y.taps, x.taps]

  Filter(const Upfirdn2dCall& call, const A* stored) {
    const int64_t width = call.x.taps, height = call.separable ? 1 : call.y.taps;
    for (int64_t i = 0; i < height; ++i)
      for (int64_t j = 0; j < width; ++j) {
        const int64_t at = stored_tap(i, height, call.flip) * width + stored_tap(j, width, call.flip);
        x.push_back(stored ? stored[at] : A(1));
      }
    if (call.separable) y = x;
    for (A& tap : call.separable ? y : x) tap *= A(call.gain);
  }
};

// Output columns repeat their taps every `period`, `step` input elements further on.
struct Columns {
  ResampledAxis axis;
  int64_t period, step;
  std::vector<Taps> taps;  // of the first period

  explicit Columns(const ResampledAxis& x)
      : axis(x), period(x.up / std::gcd(x.up, x.down)), step(x.down / std::gcd(x.up, x.down)) {
    for (int64_t o = 0; o < period; ++o) taps.push_back(taps_of(x, o));
  }
};

// One thread's scratch: a strip of a row after the vertical pass, with the zeros the padding stands for beside it.
template <class T>
class Strip {
 public:
  using A = accumulator_t<T>;

  Strip(const Upfirdn2dCall& call, const Columns& columns, const Filter<A>& filter)
      : call_(call), columns_(columns), filter_(filter) {
    // Whole periods of output columns, as many as keep the strip in the cache.
    const int64_t each = std::max<int64_t>(columns.step, columns.period) * call.inner;
    periods_ = std::max<int64_t>(1, kStrip / each);
    periods_ = std::min<int64_t>(periods_, (call.x.output + columns.period - 1) / columns.period);
    for (const Taps& taps : columns.taps)
      if (taps.count > 0) {
        lowest_ = std::min<int64_t>(lowest_, taps.element);
        highest_ = std::max<int64_t>(highest_, taps.element + taps.count - 1);
      }
    if (lowest_ > highest_) lowest_ = highest_ = 0;
    // Rounded up to whole steps, which is what unwoven lines consist of.
    lines_ = periods_ + (highest_ - lowest_) / columns.step + 1;
    width_ = lines_ * columns.step;
    row_.resize(width_ * call.inner);
    unwoven_.resize(columns.step > 1 && flat() ? row_.size() : 0);
    phases_.resize(columns.period * periods_ * call.inner);
    spare_.resize(std::max<int64_t>(width_, columns.period * periods_) * call.inner);
  }

  // The output row y of a plane.
  void run(const T* plane, int64_t y, T* output) {
    const Taps taps = taps_of(call_.y, y);
    // The rows beyond the image are zeros.
    const int64_t begin = std::max<int64_t>(0, -taps.element);
    const int64_t end = std::max(begin, std::min<int64_t>(taps.count, call_.y.input - taps.element));
    for (int64_t first = 0; first < call_.x.output; first += columns_.period * periods_) {
      const int64_t periods =
          std::min<int64_t>(periods_, (call_.x.output - first + columns_.period - 1) / columns_.period);
      // Input columns: those of the strip, and those of them that exist.
      const int64_t left = first / columns_.period * columns_.step + lowest_;
      const int64_t from = std::clamp<int64_t>(left, 0, call_.x.input);
      const int64_t to = std::clamp<int64_t>(left + width_, from, call_.x.input);
      A* const inside = row_.data() + (from - left) * call_.inner;
      const T* const image = plane + from * call_.inner;
      const int64_t pitch = call_.x.input * call_.inner;
      if (from < to) {
        std::fill(row_.data(), inside, A(0));
        std::fill(inside + (to - from) * call_.inner, row_.data() + row_.size(), A(0));
      } else {
        std::fill(row_.begin(), row_.end(), A(0));
      }
      T* const target = output + first * call_.inner;
      const int64_t count = std::min<int64_t>(call_.x.output - first, columns_.period * periods);
      const auto row = [&](int64_t j) { return image + (taps.element + j) * pitch; };
      if (call_.separable) {
        const A* const weights = filter_.y.data() + taps.first;
        if (from < to)
          combine<A>(
              end - begin, [&](int64_t j) { return weights[(begin + j) * call_.y.up]; },
              [&](int64_t j) { return row(begin + j); }, static_cast<const A*>(nullptr), spare_.data(), inside,
              (to - from) * call_.inner);
        across(filter_.x.data(), periods, count, static_cast<const A*>(nullptr), target);
      } else if (begin == end) {
        std::fill_n(target, count * call_.inner, Store<T>::from(A(0)));
      } else {
        // A sum over the filter's rows.
        for (int64_t j = begin; j < end; ++j) {
          if (from < to)
            combine<A>(
                1, [](int64_t) { return A(1); }, [&](int64_t) { return row(j); }, static_cast<const A*>(nullptr),
                spare_.data(), inside, (to - from) * call_.inner);
          const A* const weights = filter_.x.data() + (taps.first + j * call_.y.up) * call_.x.taps;
          sum_.resize(count * call_.inner);
          const A* const start = j > begin ? sum_.data() : nullptr;
          if (j + 1 < end)
            across(weights, periods, count, start, sum_.data());
          else
            across(weights, periods, count, start, target);
        }
      }
    }
  }

 private:
  bool flat() const { return call_.inner < kLongPixel; }

  // The horizontal pass: `count` output columns, which begin with a period, from the strip's row.
  template <class Out>
  void across(const A* weights, int64_t periods, int64_t count, const A* start, Out* target) {
    const int64_t inner = call_.inner;
    const auto weight = [&](const Taps& taps) {
      return [&, first = taps.first](int64_t j) { return weights[first + j * call_.x.up]; };
    };
    if (!flat()) {
      for (int64_t o = 0; o < count; ++o) {
        const Taps& taps = columns_.taps[o % columns_.period];
        const A* const at = row_.data() + (o / columns_.period * columns_.step + taps.element - lowest_) * inner;
        combine<A>(
            taps.count, weight(taps), [&](int64_t j) { return at + j * inner; }, start ? start + o * inner : nullptr,
            spare_.data(), target + o * inner, inner);
      }
      return;
    }
    if (columns_.step > 1) unweave();
    const A* const lines = columns_.step > 1 ? unwoven_.data() : row_.data();
    const auto row_of = [&](const Taps& taps) {
      return [&, element = taps.element - lowest_](int64_t j) {
        const int64_t at = element + j;
        return lines + (at % columns_.step * lines_ + at / columns_.step) * inner;
      };
    };
    if (columns_.period == 1) {
      const Taps& taps = columns_.taps[0];
      combine<A>(taps.count, weight(taps), row_of(taps), start, spare_.data(), target, count * inner);
      return;
    }
    for (int64_t phase = 0; phase < columns_.period; ++phase) {
      const Taps& taps = columns_.taps[phase];
      combine<A>(taps.count, weight(taps), row_of(taps), static_cast<const A*>(nullptr), spare_.data(),
                 phases_.data() + phase * periods * inner, periods * inner);
    }
    weave(periods, count, start, target);
  }

  // The strip's row as `step` lines, line i of its columns i, i + step, ...
  void unweave() {
    const A* const row = row_.data();
    A* const lines = unwoven_.data();
    if (columns_.step == 2 && call_.inner == 1) {
      const int64_t length = lines_;
#pragma omp simd
      for (int64_t i = 0; i < length; ++i) {
        lines[i] = row[2 * i];
        lines[length + i] = row[2 * i + 1];
      }
      return;
    }
    for (int64_t column = 0; column < width_; ++column)
      std::copy_n(row + column * call_.inner, call_.inner,
                  lines + (column % columns_.step * lines_ + column / columns_.step) * call_.inner);
  }

  // The phases' lines, put together to a row of `count` columns and added to `start` where there is one.
  template <class Out>
  void weave(int64_t periods, int64_t count, const A* start, Out* target) {
    const A* const lines = phases_.data();
    const int64_t inner = call_.inner;
    if (columns_.period == 2 && inner == 1 && !start) {
#pragma omp simd
      for (int64_t i = 0; i < count / 2; ++i) {
        target[2 * i] = Store<Out>::from(lines[i]);
        target[2 * i + 1] = Store<Out>::from(lines[periods + i]);
      }
      if (count % 2) target[count - 1] = Store<Out>::from(lines[count / 2]);
      return;
    }
    for (int64_t o = 0; o < count; ++o) {
      const A* const line = lines + (o % columns_.period * periods + o / columns_.period) * inner;
      for (int64_t c = 0; c < inner; ++c)
        target[o * inner + c] = Store<Out>::from(line[c] + (start ? start[o * inner + c] : A(0)));
    }
  }

  const Upfirdn2dCall& call_;
  const Columns& columns_;
  const Filter<A>& filter_;
  int64_t periods_, lowest_ = INT64_MAX, highest_ = INT64_MIN, lines_, width_;
  std::vector<A> row_, unwoven_, phases_, spare_, sum_;
};

template <class T>
void run(const Upfirdn2dCall& call, const T* input, const void* stored, T* output) {
  using A = accumulator_t<T>;
  const Filter<A> filter(call, static_cast<const A*>(stored));
  const Columns columns(call.x);
  const int64_t rows = call.planes * call.y.output, length = call.x.output * call.inner;
  const int threads = threads_for(rows * length, call.threads);
  const auto work = [&](int64_t begin, int64_t end) {
    Strip<T> strip(call, columns, filter);
    FreshMemory fresh(output, begin * length, rows * length);
    for (int64_t row = begin; row < end; ++row) {
      fresh.reach((row + 1) * length);
      const T* const plane = input + row / call.y.output * call.y.input * call.x.input * call.inner;
      strip.run(plane, row % call.y.output, output + row * length);
    }
  };
  if (threads == 1) return work(0, rows);
#pragma omp parallel for num_threads(threads) schedule(static, 1)
  for (int thread = 0; thread < threads; ++thread) work(rows * thread / threads, rows * (thread + 1) / threads);
}

}  // namespace

void upfirdn2d(const Upfirdn2dCall& call, const void* input, const void* filter, void* output) {
  if (call.planes * call.inner == 0) return;
  with_dtype(call.dtype, [&](auto zero) {
    using T = decltype(zero);
    run(call, static_cast<const T*>(input), filter, static_cast<T*>(output));
  });
}

}  // namespace fastgan
