// bias_act: y = clamp(gain act(x + b)), its first derivative with the bias's gradient, and its second.
//
// A tensor is dense and seen in memory order: element i has channel (i / inner) % channels. Everything here is bound by
// memory traffic, so each kernel reads and writes every tensor once, sixteen bytes at a time where the addresses allow.
// The activation is chosen once for all the packs a thread has in flight: one uniform branch for a few hundred
// instructions, and ten times less code than with a copy of the whole loop for each activation.
//
// The bias's gradient comes from two kernels without atomics, so its bits do not depend on the order of blocks: the
// first writes a partial sum for each (column, split), the second adds a channel's partial sums in a fixed order. There
// are two ways to walk memory for the first. `rows`: a block stays in one channel, and its threads sum over the rows of
// `inner` elements; for long rows. `columns`: memory is cut in rows of one or more whole periods of channels * inner,
// and a thread keeps a few columns of them; for channels_last and for small images, whose rows would be too short.
#include "../common/bias_act_math.h"
#include "pack.h"
#include "reduce.h"

namespace fastgan {

constexpr int kThreads = 256;    // of every block; the launcher's THREADS
constexpr int kBlocksPerSM = 3;  // at least, which allows 80 registers a thread: none is spilled

// How the elements of a pack find their bias; numbered as in the launcher.
enum BiasMode {
  kNoBias = 0,
  kOneChannel = 1,  // a pack lies in one row: inner is a multiple of the pack
  kConsecutiveChannels =
      2,  // channels_last: element k has channel c + k; channels is a multiple of the pack, bias aligned
  kAnyChannels = 3,
};

template <class T>
struct BiasReader {
  using A = accumulator_t<T>;
  const T* __restrict__ bias;
  int64 channels, inner;
  int mode;

  // The bias of each element of the pack that starts at `position`.
  __device__ __forceinline__ void read(Position position, A (&value)[Pack<T>::size]) const {
    if (mode == kConsecutiveChannels) {
      const Pack<T> pack = load_pack(bias, position.channel, Pack<T>::size, true);
#pragma unroll
      for (int k = 0; k < Pack<T>::size; ++k) value[k] = load(pack.at[k]);
    } else if (mode == kAnyChannels) {
#pragma unroll
      for (int k = 0; k < Pack<T>::size; ++k) {
        value[k] = load(bias[position.channel]);
        if (++position.column == inner) {
          position.column = 0;
          if (++position.channel == channels) position.channel = 0;
        }
      }
    } else {
      const A one = mode == kOneChannel ? load(bias[position.channel]) : A(0);
#pragma unroll
      for (int k = 0; k < Pack<T>::size; ++k) value[k] = one;
    }
  }
};

// For every element i: body(activation, inputs of i, bias of i, outputs of i). `step` is the position of element
// gridDim.x * blockDim.x * Pack<T>::size.
template <class T, int Inputs, int Outputs, class Body>
__device__ __forceinline__ void elementwise(const T* const (&in)[Inputs], T* const (&out)[Outputs],
                                            const BiasReader<T>& bias, const Position& step, int64 numel, bool aligned,
                                            int act, Body body) {
  using A = accumulator_t<T>;
  constexpr int size = Pack<T>::size;
  // Packs of each tensor that a thread loads before it computes: 32 bytes or more from each of the thousand threads of
  // an SM cover the latency of its memory.
  constexpr int in_flight = Inputs == 1 ? 2 : 1;
  const int64 stride = int64(gridDim.x) * kThreads * size;
  int64 first = (int64(blockIdx.x) * kThreads + threadIdx.x) * size;
  Position position{0, 0};
  if (bias.mode != kNoBias) position = Position::of(first, bias.channels, bias.inner);

  for (; first < numel; first += in_flight * stride) {
    Pack<T> x[in_flight][Inputs], y[in_flight][Outputs];
    A b[in_flight][size];
#pragma unroll
    for (int u = 0; u < in_flight; ++u) {
      const int64 at = first + u * stride;
#pragma unroll
      for (int t = 0; t < Inputs; ++t) x[u][t] = load_pack(in[t], at, numel - at, aligned);
    }
#pragma unroll
    for (int u = 0; u < in_flight; ++u) {
      bias.read(position, b[u]);
      if (bias.mode != kNoBias) position.advance(step, bias.channels, bias.inner);
    }
    with_activation(act, [&](auto activation) {
#pragma unroll
      for (int u = 0; u < in_flight; ++u)
#pragma unroll
        for (int k = 0; k < size; ++k) body(activation, x[u], b[u][k], y[u], k);
    });
#pragma unroll
    for (int u = 0; u < in_flight; ++u) {
      const int64 at = first + u * stride;
#pragma unroll
      for (int t = 0; t < Outputs; ++t) store_pack(out[t], at, y[u][t], numel - at, aligned);
    }
  }
}

template <class T, class A = accumulator_t<T>>
__device__ __forceinline__ void forward(const T* input, T* output, const BiasReader<T>& bias, const Position& step,
                                        int64 numel, bool aligned, int act, const BiasActParameters<A>& p) {
  elementwise<T, 1, 1>({input}, {output}, bias, step, numel, aligned, act,
                       [&](auto activation, auto& x, A b, auto& y, int k) {
                         using Act = decltype(activation);
                         y[0].at[k] = Store<T>::from(bias_act_value<Act>(load(x[0].at[k]) + b, p));
                       });
}

template <class T, class A = accumulator_t<T>>
__device__ __forceinline__ void backward(const T* grad_output, const T* saved, T* grad_input, const BiasReader<T>& bias,
                                         const Position& step, int64 numel, bool aligned, int act,
                                         const BiasActParameters<A>& p) {
  elementwise<T, 2, 1>({grad_output, saved}, {grad_input}, bias, step, numel, aligned, act,
                       [&](auto activation, auto& x, A b, auto& y, int k) {
                         using Act = decltype(activation);
                         y[0].at[k] = Store<T>::from(bias_act_gradient<T, Act>(load(x[0].at[k]), x[1].at[k], b, p));
                       });
}

template <class T, class A = accumulator_t<T>>
__device__ __forceinline__ void double_backward(const T* grad_grad_input, const T* grad_output, const T* saved,
                                                T* grad_grad_output, T* grad_saved, const BiasReader<T>& bias,
                                                const Position& step, int64 numel, bool aligned, int act,
                                                const BiasActParameters<A>& p) {
  elementwise<T, 3, 2>(
      {grad_grad_input, grad_output, saved}, {grad_grad_output, grad_saved}, bias, step, numel, aligned, act,
      [&](auto activation, auto& x, A b, auto& y, int k) {
        using Act = decltype(activation);
        const A cotangent = load(x[0].at[k]);
        y[0].at[k] = Store<T>::from(bias_act_gradient<T, Act>(cotangent, x[2].at[k], b, p));
        y[1].at[k] = Store<T>::from(bias_act_saved_gradient<T, Act>(cotangent, load(x[1].at[k]), x[2].at[k], b, p));
      });
}

// dx of the pack at `at`, of which `count` elements exist; add(k, dx) is called for each of those.
template <class T, class A = accumulator_t<T>, class Add>
__device__ __forceinline__ void gradient_pack(const T* grad_output, const T* saved, T* grad_input, int64 at,
                                              int64 count, bool aligned, const A (&b)[Pack<T>::size], int act,
                                              const BiasActParameters<A>& p, Add add) {
  const Pack<T> g = load_pack(grad_output, at, count, aligned), s = load_pack(saved, at, count, aligned);
  Pack<T> result;
  with_activation(act, [&](auto activation) {
    using Act = decltype(activation);
#pragma unroll
    for (int k = 0; k < Pack<T>::size; ++k) {
      const A dx = bias_act_gradient<T, Act>(load(g.at[k]), s.at[k], b[k], p);
      result.at[k] = Store<T>::from(dx);
      if (k < count) add(k, dx);
    }
  });
  store_pack(grad_input, at, result, count, aligned);
}

// Block b works on channel b / splits. The channel's packs, packs_per_row in each of its `outer` rows, are dealt out to
// the threads of its blocks in turn; `step_row` rows and `step_pack` packs are one turn of splits * kThreads packs.
// partial [channels, splits]
template <class T, class A = accumulator_t<T>>
__device__ __forceinline__ void backward_rows(const T* grad_output, const T* saved, const T* bias, T* grad_input,
                                              A* partial, int64 outer, int64 channels, int64 inner, int64 packs_per_row,
                                              int64 step_row, int64 step_pack, int splits, bool aligned, int act,
                                              const BiasActParameters<A>& p, A* scratch) {
  const int64 channel = blockIdx.x / splits;
  const int split = blockIdx.x % splits;
  const int64 first = int64(split) * kThreads + threadIdx.x;
  const A one = bias ? load(bias[channel]) : A(0);
  A b[Pack<T>::size];
#pragma unroll
  for (int k = 0; k < Pack<T>::size; ++k) b[k] = one;

  A sum = A(0);
  int64 row = first / packs_per_row, pack = first - row * packs_per_row;
  while (row < outer) {
    const int64 column = pack * Pack<T>::size;
    gradient_pack(grad_output, saved, grad_input, (row * channels + channel) * inner + column, inner - column, aligned,
                  b, act, p, [&](int, A dx) { sum += dx; });
    row += step_row;
    pack += step_pack;
    if (pack >= packs_per_row) {
      pack -= packs_per_row;
      ++row;
    }
  }

  sum = block_sum(sum, scratch);
  if (threadIdx.x == 0) partial[channel * splits + split] = sum;
}

constexpr int kWarps = kThreads / 32;

// Memory is cut in rows of `length` elements, a multiple of channels * inner and, where `aligned`, of the pack. Block b
// works on the 32 packs of columns of tile b / splits; the rows are dealt out to the warps of the tile's blocks in
// turn. partial [length, splits]
template <class T, class A = accumulator_t<T>>
__device__ __forceinline__ void backward_columns(const T* grad_output, const T* saved, const BiasReader<T>& bias,
                                                 T* grad_input, A* partial, int64 numel, int64 length, int splits,
                                                 bool aligned, int act, const BiasActParameters<A>& p,
                                                 A (&scratch)[kWarps][32 * Pack<T>::size]) {
  constexpr int size = Pack<T>::size;
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  const int64 tile = blockIdx.x / splits;
  const int split = blockIdx.x % splits;
  const int64 column = (tile * 32 + lane) * size;
  A sum[size];
#pragma unroll
  for (int k = 0; k < size; ++k) sum[k] = A(0);

  if (column < length) {
    A b[size];
    bias.read(bias.mode == kNoBias ? Position{0, 0} : Position::of(column, bias.channels, bias.inner), b);
    const int64 width = length - column;  // less than a pack where the row's last one is not whole
    const int64 stride = int64(splits) * kWarps * length;
    for (int64 at = (int64(split) * kWarps + warp) * length + column; at < numel; at += stride) {
      const int64 count = numel - at < width ? numel - at : width;
      gradient_pack(grad_output, saved, grad_input, at, count, aligned, b, act, p, [&](int k, A dx) { sum[k] += dx; });
    }
  }

#pragma unroll
  for (int k = 0; k < size; ++k) scratch[warp][k * 32 + lane] = sum[k];  // no two lanes in one bank
  __syncthreads();
  for (int j = threadIdx.x; j < 32 * size; j += kThreads) {
    const int64 summed = (tile * 32 + j % 32) * size + j / 32;
    A total = A(0);
#pragma unroll
    for (int w = 0; w < kWarps; ++w) total += scratch[w][j];
    if (summed < length) partial[summed * splits + split] = total;
  }
}

// Block c adds up channel c's partial sums: `runs` runs of `run` elements, one in every channels * run.
template <class T, class A = accumulator_t<T>>
__device__ __forceinline__ void reduce_bias(const A* partial, T* grad_bias, int64 channels, int64 run, int64 runs,
                                            A* scratch) {
  const int64 channel = blockIdx.x;
  A sum = A(0);
  for (int64 i = threadIdx.x; i < run * runs; i += kThreads) {
    const int64 which = i / run;
    sum += partial[(which * channels + channel) * run + (i - which * run)];
  }
  sum = block_sum(sum, scratch);
  if (threadIdx.x == 0) grad_bias[channel] = Store<T>::from(sum);
}

}  // namespace fastgan

#define BIAS_ACT_BOUNDS __launch_bounds__(fastgan::kThreads, fastgan::kBlocksPerSM)
// The parameters that every kernel but the last takes.
#define BIAS_ACT_PARAMETERS(A) int act, A alpha, A gain, A inverse_gain, A bound
#define ELEMENTWISE_PARAMETERS                                                                     \
  fastgan::int64 numel, fastgan::int64 channels, fastgan::int64 inner, fastgan::int64 step_column, \
      fastgan::int64 step_channel, int bias_mode, int aligned
#define ELEMENTWISE_ARGUMENTS                                                                  \
  {bias, channels, inner, bias_mode}, {step_column, step_channel}, numel, aligned != 0, act, { \
    alpha, gain, inverse_gain, bound                                                           \
  }

#define BIAS_ACT_KERNELS(name, T, A)                                                                                 \
  extern "C" __global__ void BIAS_ACT_BOUNDS bias_act_fwd_kernel_##name(                                             \
      const T* input, const T* bias, T* output, ELEMENTWISE_PARAMETERS, BIAS_ACT_PARAMETERS(A)) {                    \
    fastgan::forward<T>(input, output, ELEMENTWISE_ARGUMENTS);                                                       \
  }                                                                                                                  \
  extern "C" __global__ void BIAS_ACT_BOUNDS bias_act_bwd_kernel_##name(                                             \
      const T* grad_output, const T* saved, const T* bias, T* grad_input, ELEMENTWISE_PARAMETERS,                    \
      BIAS_ACT_PARAMETERS(A)) {                                                                                      \
    fastgan::backward<T>(grad_output, saved, grad_input, ELEMENTWISE_ARGUMENTS);                                     \
  }                                                                                                                  \
  extern "C" __global__ void BIAS_ACT_BOUNDS bias_act_bwd_bwd_kernel_##name(                                         \
      const T* grad_grad_input, const T* grad_output, const T* saved, const T* bias, T* grad_grad_output,            \
      T* grad_saved, ELEMENTWISE_PARAMETERS, BIAS_ACT_PARAMETERS(A)) {                                               \
    fastgan::double_backward<T>(grad_grad_input, grad_output, saved, grad_grad_output, grad_saved,                   \
                                ELEMENTWISE_ARGUMENTS);                                                              \
  }                                                                                                                  \
  extern "C" __global__ void BIAS_ACT_BOUNDS bias_act_bwd_rows_kernel_##name(                                        \
      const T* grad_output, const T* saved, const T* bias, T* grad_input, A* partial, fastgan::int64 outer,          \
      fastgan::int64 channels, fastgan::int64 inner, fastgan::int64 packs_per_row, fastgan::int64 step_row,          \
      fastgan::int64 step_pack, int splits, int aligned, BIAS_ACT_PARAMETERS(A)) {                                   \
    __shared__ A scratch[fastgan::kWarps];                                                                           \
    fastgan::backward_rows<T>(grad_output, saved, bias, grad_input, partial, outer, channels, inner, packs_per_row,  \
                              step_row, step_pack, splits, aligned != 0, act, {alpha, gain, inverse_gain, bound},    \
                              scratch);                                                                              \
  }                                                                                                                  \
  extern "C" __global__ void BIAS_ACT_BOUNDS bias_act_bwd_columns_kernel_##name(                                     \
      const T* grad_output, const T* saved, const T* bias, T* grad_input, A* partial, fastgan::int64 numel,          \
      fastgan::int64 channels, fastgan::int64 inner, fastgan::int64 length, int splits, int bias_mode, int aligned,  \
      BIAS_ACT_PARAMETERS(A)) {                                                                                      \
    __shared__ A scratch[fastgan::kWarps][32 * fastgan::Pack<T>::size];                                              \
    fastgan::backward_columns<T>(grad_output, saved, {bias, channels, inner, bias_mode}, grad_input, partial, numel, \
                                 length, splits, aligned != 0, act, {alpha, gain, inverse_gain, bound}, scratch);    \
  }                                                                                                                  \
  extern "C" __global__ void BIAS_ACT_BOUNDS bias_act_reduce_kernel_##name(                                          \
      const A* partial, T* grad_bias, fastgan::int64 channels, fastgan::int64 run, fastgan::int64 runs) {            \
    __shared__ A scratch[fastgan::kWarps];                                                                           \
    fastgan::reduce_bias<T>(partial, grad_bias, channels, run, runs, scratch);                                       \
  }

BIAS_ACT_KERNELS(f32, float, float)
BIAS_ACT_KERNELS(f64, double, double)
BIAS_ACT_KERNELS(f16, fastgan::Half, float)
BIAS_ACT_KERNELS(bf16, fastgan::BFloat16, float)
