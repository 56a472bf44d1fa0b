// spectral_norm: Ŵ = W / σ by power iteration, and its first and second derivatives, for all the weights of a network
// in the same few launches.
//
// A launch gets a table of weights by value, as a kernel parameter; a block looks up in it which weight it works on.
// A weight is read where it lies. Its memory is [segments, units, length], and around it are two short vectors:
//   entry (s, a, e) belongs to x[a * period + e % period] and to y[(s * length + e) / period].
// Where the matrix's rows lie together (dim 0) a unit is a row, x is u and y is v, and the period is 1; for a dimension
// between others, rows come in several segments. Where the other dimensions after the rows are short (dim 1 of a
// transposed convolution) a unit is a whole slice of the outer dimension, x is v, y is u, and the period is the number
// of elements between two rows. One product with W then sums over the units' entries (`dot`, makes x), and the other
// over units (`gather`, makes y).
//
// Forward, u first: 1. t = W v, 2. w = Wᵀ u with u = t / max(‖t‖, eps), 3. Ŵ and the vectors. A product leaves its raw
// result and, for each block, the sum of its squares; whoever needs the norm adds those up again in a fixed order. So
// no atomics, no results that depend on the order of blocks, and no launch for a norm.
#include "../common/spectral_norm_math.h"
#include "pack.h"
#include "reduce.h"
#include "spectral_norm_table.h"

namespace fastgan {

// These are the launcher's too.
constexpr int kThreads = 256;    // of every block
constexpr int kTogether = 4;     // units that a team of threads reads at once
constexpr int kScaledPacks = 8;  // that a thread divides by σ

constexpr int kWarps = kThreads / 32;
constexpr int kBlocksPerSM = 3;  // at least, which allows 80 registers a thread: none is spilled

__device__ __forceinline__ bool aligned_to_pack(const void* pointer) {
  return reinterpret_cast<unsigned long long>(pointer) % 16 == 0;
}

__device__ __forceinline__ int64 ceil_div(int64 a, int64 b) { return (a + b - 1) / b; }

// The sum over the block, in every thread. `scratch` is shared and may be used again afterwards.
__device__ __forceinline__ double block_total(double value, double (&scratch)[kWarps]) {
  value = block_sum(value, scratch);
  if (threadIdx.x == 0) scratch[0] = value;
  __syncthreads();
  value = scratch[0];
  __syncthreads();
  return value;
}

// The sum of what `count` blocks left in `partial`, in every thread.
__device__ __forceinline__ double total_of(const double* partial, int count, double (&scratch)[kWarps]) {
  double sum = 0;
  for (int i = threadIdx.x; i < count; i += kThreads) sum += partial[i];
  return block_total(sum, scratch);
}

// ---- entries of the short vectors for a pack of the weight --------------------------------------------------------

// Consecutive entries from `at` on, zeros beyond `count`.
template <class C, class A, int n>
__device__ __forceinline__ void consecutive(const C* from, int64 at, int64 count, bool aligned, A (&to)[n]) {
  if (aligned && count >= n) {
    constexpr int size = Pack<C>::size;
#pragma unroll
    for (int i = 0; i < n; i += size) {
      const Pack<C> pack = load_pack(from, at + i, size, true);
#pragma unroll
      for (int k = 0; k < size; ++k) to[i + k] = load(pack.at[k]);
    }
  } else {
#pragma unroll
    for (int k = 0; k < n; ++k) to[k] = k < count ? A(load(from[at + k])) : A(0);
  }
}

// y's entries of the elements from `phase` on in the period of entry `at`, zeros beyond `count`.
template <class C, class A, int n>
__device__ __forceinline__ void entries_of_y(const C* y, int64 at, int phase, int period, int64 count, bool aligned,
                                             A (&to)[n]) {
  if (period == 1) return consecutive(y, at, count, aligned, to);
#pragma unroll
  for (int k = 0; k < n; ++k) {
    to[k] = k < count ? A(load(y[at])) : A(0);
    if (++phase == period) {
      phase = 0;
      ++at;
    }
  }
}

// x's entries of a unit's elements from `phase` on in a period.
template <class C, class A, int n>
__device__ __forceinline__ void entries_of_x(const C* x, int64 unit, int phase, int period, A (&to)[n]) {
  if (period == 1) {
    const A entry = load(x[unit]);
#pragma unroll
    for (int k = 0; k < n; ++k) to[k] = entry;
    return;
  }
#pragma unroll
  for (int k = 0; k < n; ++k) {
    to[k] = load(x[unit * period + phase]);
    if (++phase == period) phase = 0;
  }
}

// ---- products with W ------------------------------------------------------------------------------------------------

// What the threads of a block exchange: an entry for each element of each thread's pack.
template <class T>
constexpr int kSlots = kThreads * Pack<T>::size;

// Adds to sum[u] what thread `lane` of a team has of the products of y, times `scale`, with units[u], rows that lie in
// segments `stride` elements apart. The packs of all segments are dealt out to the team in turn.
template <class T, class C, class A, int n>
__device__ __forceinline__ void add_rows(const Walk& walk, const T* const (&units)[n], const C* y, A scale, int lane,
                                         int team_size, bool aligned, A (&sum)[n]) {
  constexpr int size = Pack<T>::size;
  const int64 stride = walk.units * walk.length, packs = ceil_div(walk.length, size);
  const int64 step_segment = team_size / packs, step_pack = team_size - step_segment * packs;
  int64 segment = lane / packs, pack = lane - segment * packs;
  while (segment < walk.segments) {
    const int64 at = pack * size, count = aligned ? size : walk.length - at;
    Pack<T> w[n];
#pragma unroll
    for (int u = 0; u < n; ++u) w[u] = load_pack(units[u], segment * stride + at, count, aligned);
    A entries[size];
    consecutive(y, segment * walk.length + at, count, aligned, entries);
#pragma unroll
    for (int u = 0; u < n; ++u) {
      A part = A(0);
#pragma unroll
      for (int k = 0; k < size; ++k) part += load(w[u].at[k]) * (entries[k] * scale);
      sum[u] += part;
    }
    segment += step_segment;
    pack += step_pack;
    if (pack >= packs) {
      pack -= packs;
      ++segment;
    }
  }
}

// x = the sum over units' entries of W y for a period of 1. A team of threads, whole warps, sums over kTogether units.
// `scale` multiplies y. Calls result(index, value) for the entries of x that the block makes.
template <class T, class C, class A, class Result>
__device__ __forceinline__ void dot_rows(const Walk& walk, const T* weight, const C* y, A scale, int block,
                                         int team_size, A* slots, Result result) {
  const int team = threadIdx.x / team_size, lane = threadIdx.x % team_size, teams = kThreads / team_size;
  const int64 first = (int64(block) * teams + team) * kTogether;  // unit
  A sum[kTogether];
#pragma unroll
  for (int u = 0; u < kTogether; ++u) sum[u] = A(0);
  if (walk.length == 0) {
    // nothing to add
  } else if (walk.length % Pack<T>::size == 0 && aligned_to_pack(weight) && aligned_to_pack(y)) {
    // All at once, so that y is read once for them. Units that do not exist repeat the last one.
    const T* units[kTogether];
#pragma unroll
    for (int u = 0; u < kTogether; ++u)
      units[u] = weight + (first + u < walk.units ? first + u : walk.units - 1) * walk.length;
    add_rows(walk, units, y, scale, lane, team_size, true, sum);
  } else {
    for (int u = 0; u < kTogether && first + u < walk.units; ++u) {
      const T* const unit[] = {weight + (first + u) * walk.length};
      A one[] = {A(0)};
      add_rows(walk, unit, y, scale, lane, team_size, false, one);
#pragma unroll
      for (int k = 0; k < kTogether; ++k) sum[k] += k == u ? one[0] : A(0);
    }
  }

#pragma unroll
  for (int u = 0; u < kTogether; ++u) {
#pragma unroll
    for (int offset = 16; offset > 0; offset /= 2) sum[u] += __shfl_down_sync(0xffffffffu, sum[u], offset);
    if (threadIdx.x % 32 == 0) slots[threadIdx.x / 32 * kTogether + u] = sum[u];
  }
  __syncthreads();
  const int warps = team_size / 32, t = threadIdx.x / kTogether, u = threadIdx.x % kTogether;
  const int64 unit = (int64(block) * teams + t) * kTogether + u;
  if (t < teams && unit < walk.units) {
    A total = A(0);
    for (int w = 0; w < warps; ++w) total += slots[(t * warps + w) * kTogether + u];
    result(unit, total);
  }
}

// The same for longer periods, and one segment. A team sums over one unit; its packs are a multiple of the period, so
// that a thread stays at the same places in it.
template <class T, class C, class A, class Result>
__device__ __forceinline__ void dot_slices(const Walk& walk, const T* weight, const C* y, A scale, int block,
                                           int team_size, A* slots, Result result) {
  constexpr int size = Pack<T>::size;
  const int team = threadIdx.x / team_size, lane = threadIdx.x % team_size, teams = kThreads / team_size;
  const int64 unit = int64(block) * teams + team;
  const bool aligned = walk.length % size == 0 && aligned_to_pack(weight);
  const int period = walk.period, width = team_size * size, phase = lane * size % period;
  A sum[size];
#pragma unroll
  for (int k = 0; k < size; ++k) sum[k] = A(0);

  if (team < teams && unit < walk.units) {
    int64 entry = lane * size / period;
    for (int64 at = lane * size; at < walk.length; at += width, entry += width / period) {
      const Pack<T> w = load_pack(weight + unit * walk.length, at, walk.length - at, aligned);
      A entries[size];
      entries_of_y(y, entry, phase, period, walk.length - at, false, entries);
#pragma unroll
      for (int k = 0; k < size; ++k) sum[k] += load(w.at[k]) * (entries[k] * scale);
    }
  }

#pragma unroll
  for (int k = 0; k < size; ++k) slots[threadIdx.x * size + k] = sum[k];
  __syncthreads();
  for (int i = threadIdx.x; i < teams * period; i += kThreads) {
    const int t = i / period, place = i % period;
    if (int64(block) * teams + t >= walk.units) continue;
    A total = A(0);
    for (int j = place; j < width; j += period) total += slots[t * width + j];
    result((int64(block) * teams + t) * period + place, total);
  }
}

// A thread's place in a tile: `lanes` packs of a segment's length, whose units are dealt out to the teams of as many
// threads. A tile's length is a multiple of the period.
template <class T>
struct Place {
  int team, teams;
  int64 segment, chunk;
  int64 tile_at, at;  // the first element of the length, of the tile and of the thread
  int count, phase;   // the number of the thread's elements; its first one's place in the period

  __device__ __forceinline__ Place(const Walk& walk, int lanes, int64 chunks, int block) {
    constexpr int size = Pack<T>::size;
    team = threadIdx.x / lanes;
    teams = kThreads / lanes;
    const int64 tiles = ceil_div(walk.length, lanes * size), rest = block / tiles;
    segment = rest / chunks;
    chunk = rest % chunks;
    tile_at = (block - rest * tiles) * lanes * size;
    const int within = threadIdx.x % lanes * size;
    at = tile_at + within;
    count = team < teams && at < walk.length ? (walk.length - at < size ? walk.length - at : size) : 0;
    phase = within % walk.period;
  }
};

// Adds to `sum` the products of x, times `scale`, with n of the team's units at a time, from `unit` on for as long as
// there are n. Returns the first unit left.
template <int n, class T, class C, class A>
__device__ __forceinline__ int64 add_units(const Walk& walk, int period, const T* column, const C* x, A scale,
                                           const Place<T>& place, int count, bool aligned, int64 unit,
                                           A (&sum)[Pack<T>::size]) {
  constexpr int size = Pack<T>::size;
  for (; unit + (n - 1) * place.teams < walk.units; unit += n * place.teams) {
    Pack<T> w[n];
#pragma unroll
    for (int u = 0; u < n; ++u) w[u] = load_pack(column, (unit + u * place.teams) * walk.length, count, aligned);
#pragma unroll
    for (int u = 0; u < n; ++u) {
      A entries[size];
      entries_of_x(x, unit + u * place.teams, place.phase, period, entries);
#pragma unroll
      for (int k = 0; k < size; ++k) sum[k] += load(w[u].at[k]) * (entries[k] * scale);
    }
  }
  return unit;
}

// y = the sum over units of W x. A block makes a tile's entries of y. `scale` multiplies x.
template <class T, class C, class A, class Result>
__device__ __forceinline__ void gather(const Walk& walk, const T* weight, const C* x, A scale, int block, int lanes,
                                       A* slots, Result result) {
  constexpr int size = Pack<T>::size;
  const bool aligned = walk.length % size == 0 && aligned_to_pack(weight);
  const Place<T> place(walk, lanes, 1, block);
  const T* column = weight + place.segment * walk.units * walk.length + place.at;
  A sum[size];
#pragma unroll
  for (int k = 0; k < size; ++k) sum[k] = A(0);

  if (place.count > 0) {
    int64 unit = place.team;
    if (aligned && walk.period == 1)
      unit = add_units<kTogether>(walk, 1, column, x, scale, place, size, true, unit, sum);
    add_units<1>(walk, walk.period, column, x, scale, place, place.count, aligned, unit, sum);
  }

#pragma unroll
  for (int k = 0; k < size; ++k) slots[threadIdx.x * size + k] = sum[k];
  __syncthreads();
  const int width = lanes * size;
  for (int j = threadIdx.x; j < width; j += kThreads) {
    A total = A(0);
    for (int t = 0; t < place.teams; ++t) total += slots[t * width + j];
    slots[j] = total;  // no other thread reads this column
  }
  __syncthreads();
  const int period = walk.period;
  const int64 entry = (place.segment * walk.length + place.tile_at) / period;
  const int64 left = (walk.length - place.tile_at) / period;
  for (int j = threadIdx.x; j < width / period && j < left; j += kThreads) {
    A total = A(0);
    for (int k = 0; k < period; ++k) total += slots[j * period + k];
    result(entry + j, total);
  }
}

// Makes u = W v or v = Wᵀ u of the other vector `from`, times `scale`, without a norm yet, and the block's partial sum:
// of its squares, or of its product with `given` where that is not null.
template <class T, class C, class A = accumulator_t<T>>
__device__ __forceinline__ void product(const ForwardLayer& layer, const Share& share, int makes, const C* from,
                                        A scale, const T* given, A* slots, double (&scratch)[kWarps]) {
  const T* weight = static_cast<const T*>(layer.weight);
  A* to = static_cast<A*>(layer.products[makes]);
  double sum = 0;
  const auto result = [&](int64 index, A value) {
    to[index] = value;
    sum += double(value) * (given ? double(load(given[index])) : double(value));
  };
  const bool makes_x = (makes == kU) == (layer.walk.x_is_u != 0);
  if (!makes_x)
    gather(layer.walk, weight, from, scale, share.block, layer.lanes, slots, result);
  else if (layer.walk.period == 1)
    dot_rows(layer.walk, weight, from, scale, share.block, layer.team, slots, result);
  else
    dot_slices(layer.walk, weight, from, scale, share.block, layer.team, slots, result);
  sum = block_sum(sum, scratch);
  if (threadIdx.x == 0) layer.squares[makes][share.block] = sum;
}

// ‖W v‖ or ‖Wᵀ u‖ squared, in every thread.
__device__ __forceinline__ double squared_norm(const ForwardTable& table, int layer, int which,
                                               double (&scratch)[kWarps]) {
  return total_of(table.layers[layer].squares[which], table.first(layer + 1, which) - table.first(layer, which),
                  scratch);
}

// The first product, with the vector given.
template <class T>
__device__ __forceinline__ void start(const ForwardTable& table, int makes, bool only_sigma, accumulator_t<T>* slots,
                                      double (&scratch)[kWarps]) {
  const Share share(table, makes);
  const ForwardLayer& layer = table.layers[share.layer];
  const T* given = only_sigma ? static_cast<const T*>(layer.vectors[makes]) : nullptr;
  product<T>(layer, share, makes, static_cast<const T*>(layer.vectors[1 - makes]), accumulator_t<T>(1), given, slots,
             scratch);
}

// Every other product, with the result of the one before.
template <class T, class A = accumulator_t<T>>
__device__ __forceinline__ void step(const ForwardTable& table, int makes, A eps, accumulator_t<T>* slots,
                                     double (&scratch)[kWarps]) {
  const Share share(table, makes);
  const ForwardLayer& layer = table.layers[share.layer];
  const A norm = A(sqrt(squared_norm(table, share.layer, 1 - makes, scratch)));
  product<T>(layer, share, makes, static_cast<const A*>(layer.products[1 - makes]), inverse_norm(norm, eps), nullptr,
             slots, scratch);
}

// σ, the new vectors and Ŵ. `last` is the vector made last; where none was, the vectors are those given.
template <class T, class A = accumulator_t<T>>
__device__ __forceinline__ void finish(const ForwardTable& table, int last, bool only_sigma, A eps,
                                       double (&scratch)[kWarps]) {
  constexpr int size = Pack<T>::size, launch = 2, in_flight = 4;
  const Share share(table, launch);
  const ForwardLayer& layer = table.layers[share.layer];
  A sigma;
  if (only_sigma) sigma = A(squared_norm(table, share.layer, last, scratch));
#pragma unroll
  for (int which = kU; which <= kV; ++which) {
    const T* given = static_cast<const T*>(layer.vectors[which]);
    const A* made = static_cast<const A*>(layer.products[which]);
    T* to = static_cast<T*>(layer.new_vectors[which]);
    A scale = A(1);
    if (!only_sigma) {
      const A norm = A(sqrt(squared_norm(table, share.layer, which, scratch)));
      scale = inverse_norm(norm, eps);
      if (which == last) sigma = sigma_of_norm(norm, eps);
    }
    const int64 entries = layer.walk.entries(which), stride = int64(share.blocks) * kThreads;
    for (int64 i = int64(share.block) * kThreads + threadIdx.x; i < entries; i += stride)
      to[i] = only_sigma ? given[i] : Store<T>::from(made[i] * scale);
  }
  if (share.block == 0 && threadIdx.x == 0) *static_cast<A*>(layer.sigma) = sigma;

  const T* weight = static_cast<const T*>(layer.weight);
  T* output = static_cast<T*>(layer.output);
  if (!output) return;
  const bool aligned = aligned_to_pack(weight) && aligned_to_pack(output);
  const int64 numel = layer.walk.numel();
  const A inverse = A(1) / sigma;
  int64 at = (int64(share.block) * kScaledPacks * kThreads + threadIdx.x) * size;
#pragma unroll 1
  for (int turn = 0; turn < kScaledPacks; turn += in_flight) {
    Pack<T> packs[in_flight];
#pragma unroll
    for (int i = 0; i < in_flight; ++i) {
      const int64 from = at + i * kThreads * size;
      packs[i] = load_pack(weight, from, numel - from, aligned);
    }
#pragma unroll
    for (int i = 0; i < in_flight; ++i, at += kThreads * size) {
#pragma unroll
      for (int k = 0; k < size; ++k) packs[i].at[k] = Store<T>::from(load(packs[i].at[k]) * inverse);
      store_pack(output, at, packs[i], numel - at, aligned);
    }
  }
}

// ---- derivatives ----------------------------------------------------------------------------------------------------

// For the packs of tensors `in` that this thread has: body(packs, E's entries, offset, count), of which
// `count` elements exist. InFlight packs of each tensor are loaded at once.
template <class T, int InFlight, int Inputs, class Body>
__device__ __forceinline__ void for_tile(const BackwardLayer& layer, const Share& share, const T* const (&in)[Inputs],
                                         bool aligned, Body body) {
  using A = accumulator_t<T>;
  constexpr int size = Pack<T>::size;
  const Walk& walk = layer.walk;
  const Place<T> place(walk, layer.lanes, ceil_div(walk.units, layer.chunk), share.block);
  if (place.count == 0) return;
  const T* x = static_cast<const T*>(layer.vectors[walk.x_is_u ? kU : kV]);
  const T* y = static_cast<const T*>(layer.vectors[walk.x_is_u ? kV : kU]);
  A along[size];
  entries_of_y(y, (place.segment * walk.length + place.at) / walk.period, place.phase, walk.period, place.count,
               walk.length % size == 0 && aligned_to_pack(y), along);
  const int64 begin = place.chunk * layer.chunk;
  const int units = walk.units - begin < layer.chunk ? int(walk.units - begin) : layer.chunk;
  const int64 offset = (place.segment * walk.units + begin) * walk.length + place.at;
  x += begin * walk.period;
  for (int first = place.team; first < units; first += InFlight * place.teams) {
    Pack<T> packs[InFlight][Inputs];
#pragma unroll
    for (int i = 0; i < InFlight; ++i) {
      const int unit = first + i * place.teams;
#pragma unroll
      for (int t = 0; t < Inputs; ++t)
        packs[i][t] = load_pack(in[t], offset + unit * walk.length, unit < units ? place.count : 0, aligned);
    }
#pragma unroll
    for (int i = 0; i < InFlight; ++i) {
      const int unit = first + i * place.teams;
      if (unit >= units) break;
      A e[size];
      entries_of_x(x, unit, place.phase, walk.period, e);
#pragma unroll
      for (int k = 0; k < size; ++k) e[k] *= along[k];
      body(packs[i], e, offset + unit * walk.length, place.count);
    }
  }
}

template <class T, int Inputs>
__device__ __forceinline__ bool all_aligned(const Walk& walk, const T* const (&tensors)[Inputs]) {
  bool aligned = walk.length % Pack<T>::size == 0;
#pragma unroll
  for (int t = 0; t < Inputs; ++t) aligned = aligned && aligned_to_pack(tensors[t]);
  return aligned;
}

// partial[0] = ⟨G, W⟩
template <class T, class A = accumulator_t<T>>
__device__ __forceinline__ void backward_sums(const BackwardTable& table, double (&scratch)[kWarps]) {
  const Share share(table, 0);
  const BackwardLayer& layer = table.layers[share.layer];
  const T* const in[] = {static_cast<const T*>(layer.grad_output), static_cast<const T*>(layer.weight)};
  A g_w = A(0);
  for_tile<T, 2>(layer, share, in, all_aligned(layer.walk, in), [&](auto& packs, auto&, int64, int) {
    A part = A(0);
#pragma unroll
    for (int k = 0; k < Pack<T>::size; ++k) part += load(packs[0].at[k]) * load(packs[1].at[k]);
    g_w += part;
  });
  const double sum = block_sum(double(g_w), scratch);
  if (threadIdx.x == 0) layer.partial[share.block] = sum;
}

template <class T, class A = accumulator_t<T>>
__device__ __forceinline__ void backward(const BackwardTable& table, double (&scratch)[kWarps]) {
  const Share share(table, 0);
  const BackwardLayer& layer = table.layers[share.layer];
  const A g_w = A(total_of(layer.partial, share.blocks, scratch));
  const SpectralGradient<A> gradient(*static_cast<const A*>(layer.sigma), g_w);
  const T* const in[] = {static_cast<const T*>(layer.grad_output)};
  T* grad_weight = static_cast<T*>(layer.grad_weight);
  const bool aligned = all_aligned(layer.walk, in) && aligned_to_pack(grad_weight);
  for_tile<T, 2>(layer, share, in, aligned, [&](auto& packs, auto& e, int64 offset, int count) {
    Pack<T> result;
#pragma unroll
    for (int k = 0; k < Pack<T>::size; ++k) result.at[k] = Store<T>::from(gradient(load(packs[0].at[k]), e[k]));
    store_pack(grad_weight, offset, result, count, aligned);
  });
}

// partial[0] = ⟨G, W⟩, partial[1] = ⟨H, E⟩, partial[2] = ⟨H, G⟩
template <class T, class A = accumulator_t<T>>
__device__ __forceinline__ void double_backward_sums(const BackwardTable& table, double (&scratch)[kWarps]) {
  const Share share(table, 0);
  const BackwardLayer& layer = table.layers[share.layer];
  const T* const in[] = {static_cast<const T*>(layer.grad_grad_weight), static_cast<const T*>(layer.grad_output),
                         static_cast<const T*>(layer.weight)};
  A sums[3] = {A(0), A(0), A(0)};
  for_tile<T, 1>(layer, share, in, all_aligned(layer.walk, in), [&](auto& packs, auto& e, int64, int count) {
    A g_w = A(0), h_e = A(0), h_g = A(0);
#pragma unroll
    for (int k = 0; k < Pack<T>::size; ++k) {
      if (k >= count) break;  // there is no E beyond, and what stands in for it may be infinite
      const A h = load(packs[0].at[k]), g = load(packs[1].at[k]), w = load(packs[2].at[k]);
      g_w += g * w;
      h_e += h * e[k];
      h_g += h * g;
    }
    sums[0] += g_w;
    sums[1] += h_e;
    sums[2] += h_g;
  });
#pragma unroll
  for (int s = 0; s < 3; ++s) {
    const double sum = block_total(double(sums[s]), scratch);
    if (threadIdx.x == 0) layer.partial[s * share.blocks + share.block] = sum;
  }
}

template <class T, class A = accumulator_t<T>>
__device__ __forceinline__ void double_backward(const BackwardTable& table, double (&scratch)[kWarps]) {
  const Share share(table, 0);
  const BackwardLayer& layer = table.layers[share.layer];
  A sums[3];
#pragma unroll
  for (int s = 0; s < 3; ++s) sums[s] = A(total_of(layer.partial + s * share.blocks, share.blocks, scratch));
  const SpectralSecond<A> second(*static_cast<const A*>(layer.sigma), sums[0], sums[1], sums[2]);
  const T* const in[] = {static_cast<const T*>(layer.grad_grad_weight), static_cast<const T*>(layer.grad_output),
                         static_cast<const T*>(layer.weight)};
  T* grad_grad_output = static_cast<T*>(layer.grad_grad_output);
  T* grad_weight = static_cast<T*>(layer.grad_weight);
  const bool aligned = all_aligned(layer.walk, in) && aligned_to_pack(grad_grad_output) && aligned_to_pack(grad_weight);
  for_tile<T, 1>(layer, share, in, aligned, [&](auto& packs, auto& e, int64 offset, int count) {
    Pack<T> first, other;
#pragma unroll
    for (int k = 0; k < Pack<T>::size; ++k) {
      const A h = load(packs[0].at[k]), g = load(packs[1].at[k]), w = load(packs[2].at[k]);
      first.at[k] = Store<T>::from(second.grad_grad_output(h, w));
      other.at[k] = Store<T>::from(second.grad_weight(g, e[k]));
    }
    store_pack(grad_grad_output, offset, first, count, aligned);
    store_pack(grad_weight, offset, other, count, aligned);
  });
}

}  // namespace fastgan

#define SPECTRAL_NORM_BOUNDS __launch_bounds__(fastgan::kThreads, fastgan::kBlocksPerSM)

#define SPECTRAL_NORM_KERNELS(name, T, A)                                                     \
  extern "C" __global__ void SPECTRAL_NORM_BOUNDS spectral_norm_start_kernel_##name(          \
      const __grid_constant__ fastgan::ForwardTable table, int makes, int only_sigma) {       \
    __shared__ A slots[fastgan::kSlots<T>];                                                   \
    __shared__ double scratch[fastgan::kWarps];                                               \
    fastgan::start<T>(table, makes, only_sigma != 0, slots, scratch);                         \
  }                                                                                           \
  extern "C" __global__ void SPECTRAL_NORM_BOUNDS spectral_norm_step_kernel_##name(           \
      const __grid_constant__ fastgan::ForwardTable table, int makes, A eps) {                \
    __shared__ A slots[fastgan::kSlots<T>];                                                   \
    __shared__ double scratch[fastgan::kWarps];                                               \
    fastgan::step<T>(table, makes, eps, slots, scratch);                                      \
  }                                                                                           \
  extern "C" __global__ void SPECTRAL_NORM_BOUNDS spectral_norm_finish_kernel_##name(         \
      const __grid_constant__ fastgan::ForwardTable table, int last, int only_sigma, A eps) { \
    __shared__ double scratch[fastgan::kWarps];                                               \
    fastgan::finish<T>(table, last, only_sigma != 0, eps, scratch);                           \
  }                                                                                           \
  extern "C" __global__ void SPECTRAL_NORM_BOUNDS spectral_norm_bwd_sums_kernel_##name(       \
      const __grid_constant__ fastgan::BackwardTable table) {                                 \
    __shared__ double scratch[fastgan::kWarps];                                               \
    fastgan::backward_sums<T>(table, scratch);                                                \
  }                                                                                           \
  extern "C" __global__ void SPECTRAL_NORM_BOUNDS spectral_norm_bwd_kernel_##name(            \
      const __grid_constant__ fastgan::BackwardTable table) {                                 \
    __shared__ double scratch[fastgan::kWarps];                                               \
    fastgan::backward<T>(table, scratch);                                                     \
  }                                                                                           \
  extern "C" __global__ void SPECTRAL_NORM_BOUNDS spectral_norm_bwd_bwd_sums_kernel_##name(   \
      const __grid_constant__ fastgan::BackwardTable table) {                                 \
    __shared__ double scratch[fastgan::kWarps];                                               \
    fastgan::double_backward_sums<T>(table, scratch);                                         \
  }                                                                                           \
  extern "C" __global__ void SPECTRAL_NORM_BOUNDS spectral_norm_bwd_bwd_kernel_##name(        \
      const __grid_constant__ fastgan::BackwardTable table) {                                 \
    __shared__ double scratch[fastgan::kWarps];                                               \
    fastgan::double_backward<T>(table, scratch);                                              \
  }

SPECTRAL_NORM_KERNELS(f32, float, float)
SPECTRAL_NORM_KERNELS(f64, double, double)
SPECTRAL_NORM_KERNELS(f16, fastgan::Half, float)
SPECTRAL_NORM_KERNELS(bf16, fastgan::BFloat16, float)
