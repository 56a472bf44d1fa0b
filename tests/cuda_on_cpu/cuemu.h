// Runs CUDA C++ kernels on the CPU: g++ -std=c++20 -include cuemu.h kernels.cu (x86-64, Linux).
//
// A thread of a block is a fiber with a stack of its own; the blocks of a grid run one after another. A fiber runs
// until it waits at a barrier or a warp collective, or returns, so each thread gets as far ahead of the others as the
// program allows: what a missing barrier leaves to chance on a GPU becomes a wrong result here, for one order or
// another. CUEMU_ORDER=0 runs blocks, warps and lanes forward, 1 in reverse, any other number in a random order of that
// seed.
//
// Caught and reported by name of kernel, block and thread: a deadlock (a barrier or collective that not all the threads
// it waits for reach), reading a lane outside a shuffle's mask, and any access to memory that is not mapped. Tests put
// buffers against guard pages, so that the last catches an access beyond a buffer's end. Shared memory starts as NaN.
#pragma once

#if !defined(__x86_64__) || !defined(__linux__)
#error "cuemu.h switches fibers in x86-64 assembly and needs Linux"
#endif

#include <setjmp.h>
#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <numeric>
#include <random>
#include <string>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

#ifndef __global__  // the build helper keeps the word when it looks for the kernels' names
#define __global__
#endif
#define __device__
#define __host__
#define __constant__
#define __grid_constant__
#define __forceinline__ inline __attribute__((always_inline))
#define __launch_bounds__(...)
// One block runs at a time, so a block's shared memory is static; in a section of its own it can be poisoned.
#define __shared__ static __attribute__((section("cuemu_shared")))

struct uint3 {
  unsigned x, y, z;
};
struct dim3 {
  unsigned x, y, z;
  constexpr dim3(unsigned x_ = 1, unsigned y_ = 1, unsigned z_ = 1) : x(x_), y(y_), z(z_) {}
};
struct alignas(16) uint4 {
  unsigned x, y, z, w;
};

extern "C" {
// Ends of the section above; absent where no kernel has shared memory.
extern char __start_cuemu_shared[] __attribute__((weak, visibility("hidden")));
extern char __stop_cuemu_shared[] __attribute__((weak, visibility("hidden")));
void cuemu_switch(void** from, void* to);
}

// Saves the callee-saved registers and the stack pointer, and continues on the other stack.
asm(R"(
  .text
  .weak cuemu_switch
  .type cuemu_switch, @function
cuemu_switch:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
)");

namespace cuemu {

constexpr int kWarp = 32;
constexpr size_t kPage = 4096;
constexpr size_t kStack = 64 * 1024;  // of each fiber, below it one page that must not be touched

enum class State { ready, at_barrier, at_collective, done };

struct Fiber {
  void* stack_pointer = nullptr;
  State state = State::done;
  uint3 thread{};
  int index = 0;               // in its block
  uint32_t mask = 0;           // of the collective it waits in
  uint64_t lanes[kWarp] = {};  // what each lane brought to the last collective
  uint32_t lanes_present = 0;  // which lanes took part
  int lane() const { return index % kWarp; }
};

// A collective that some lanes of a warp have reached.
struct Collective {
  int warp;
  uint32_t mask, arrived;
  uint64_t values[kWarp];
};

struct Grid {
  const char* kernel = "";
  uint3 grid{}, block{};
  uint3 block_index{};
  std::vector<Fiber> fibers;
  std::vector<Collective> collectives;
  int barrier_value_and = 1, barrier_value_or = 0, barrier_count = 0;  // being gathered
  int barrier_and = 1, barrier_or = 0, barrier_sum = 0;                // of the last barrier
  char* dynamic_shared = nullptr;
  const std::function<void()>* body = nullptr;
  std::string error;
};

inline Grid* grid = nullptr;
inline Fiber* current = nullptr;
inline void* scheduler_stack = nullptr;
inline sigjmp_buf fault_return;

inline void wait(State state) {
  Fiber* self = current;
  self->state = state;
  cuemu_switch(&self->stack_pointer, scheduler_stack);
}

inline std::string where(const Fiber& fiber) {
  char text[160];
  const uint3 b = grid->block_index, t = fiber.thread;
  snprintf(text, sizeof text, "%s, block (%u,%u,%u), thread (%u,%u,%u)", grid->kernel, b.x, b.y, b.z, t.x, t.y, t.z);
  return text;
}

// Gives the launch up: the scheduler sees the error and runs no fiber again.
inline void fail(const std::string& what) {
  grid->error = what + " in " + where(*current);
  wait(State::done);
}

inline void fiber_main() {
  (*grid->body)();
  wait(State::done);
  abort();
}

// ---- stacks -----------------------------------------------------------------------------------------------------

// Stacks for n fibers, each above a guard page. Kept from launch to launch.
inline char* stacks(size_t n) {
  static char* memory = nullptr;
  static size_t held = 0;
  if (n > held) {
    if (memory) munmap(memory, held * (kStack + kPage));
    void* got = mmap(nullptr, n * (kStack + kPage), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (got == MAP_FAILED) abort();
    memory = static_cast<char*>(got);
    held = n;
    for (size_t i = 0; i < n; ++i) mprotect(memory + i * (kStack + kPage), kPage, PROT_NONE);
  }
  return memory;
}

inline void start(Fiber& fiber, char* stack) {
  void** top = reinterpret_cast<void**>(stack + kPage + kStack);
  *--top = nullptr;  // keeps the stack aligned as after a call
  *--top = reinterpret_cast<void*>(&fiber_main);
  top -= 6;  // the registers that cuemu_switch pops
  fiber.stack_pointer = top;
  fiber.state = State::ready;
}

// ---- order ------------------------------------------------------------------------------------------------------

inline int order_seed() {
  const char* text = getenv("CUEMU_ORDER");
  return text ? atoi(text) : 0;
}

template <class Random>
std::vector<int64_t> order(int64_t begin, int64_t end, int seed, Random& random) {
  std::vector<int64_t> result(end - begin);
  std::iota(result.begin(), result.end(), begin);
  if (seed == 1) std::reverse(result.begin(), result.end());
  if (seed > 1) std::shuffle(result.begin(), result.end(), random);
  return result;
}

// ---- scheduler --------------------------------------------------------------------------------------------------

inline void resume(Fiber& fiber) {
  current = &fiber;
  cuemu_switch(&scheduler_stack, fiber.stack_pointer);
  current = nullptr;
}

// Runs one warp until none of its lanes can go on alone. Returns whether any of them moved.
inline bool run_warp(int64_t warp, const std::vector<int64_t>& lanes) {
  bool moved = false;
  for (bool again = true; again && grid->error.empty();) {
    again = false;
    for (int64_t lane : lanes) {
      const size_t i = warp * kWarp + lane;
      if (i >= grid->fibers.size() || grid->fibers[i].state != State::ready) continue;
      resume(grid->fibers[i]);
      if (!grid->error.empty()) return true;
      moved = again = true;
    }
  }
  return moved;
}

inline int count(State state) {
  return std::count_if(grid->fibers.begin(), grid->fibers.end(), [&](const Fiber& f) { return f.state == state; });
}

inline void release_barrier() {
  grid->barrier_and = std::exchange(grid->barrier_value_and, 1);
  grid->barrier_or = std::exchange(grid->barrier_value_or, 0);
  grid->barrier_sum = std::exchange(grid->barrier_count, 0);
  for (Fiber& fiber : grid->fibers)
    if (fiber.state == State::at_barrier) fiber.state = State::ready;
}

template <class Random>
void run_block(int seed, Random& random) {
  // 0xff in every byte is NaN in every floating-point type.
  if (__start_cuemu_shared) memset(__start_cuemu_shared, 0xff, __stop_cuemu_shared - __start_cuemu_shared);
  char* memory = stacks(grid->fibers.size());
  for (size_t i = 0; i < grid->fibers.size(); ++i) start(grid->fibers[i], memory + i * (kStack + kPage));
  grid->collectives.clear();

  const int64_t warps = (grid->fibers.size() + kWarp - 1) / kWarp;
  const auto warp_order = order(0, warps, seed, random), lane_order = order(0, kWarp, seed, random);
  for (;;) {
    bool moved = false;
    for (int64_t warp : warp_order) {
      moved |= run_warp(warp, lane_order);
      if (!grid->error.empty()) return;
    }
    const int done = count(State::done), waiting = count(State::at_barrier), n = grid->fibers.size();
    if (done == n) return;
    if (done + waiting == n) {
      release_barrier();
    } else if (!moved) {
      char text[200];
      const uint3 b = grid->block_index;
      snprintf(
          text, sizeof text,
          "deadlock in %s, block (%u,%u,%u): %d threads wait at a barrier, %d in a warp collective, %d have returned",
          grid->kernel, b.x, b.y, b.z, waiting, count(State::at_collective), done);
      grid->error = text;
      return;
    }
  }
}

// ---- invalid memory accesses ------------------------------------------------------------------------------------

inline void on_fault(int signal, siginfo_t* info, void*) {
  if (!current) {  // not a kernel's doing
    ::signal(signal, SIG_DFL);
    return;
  }
  char text[64];
  snprintf(text, sizeof text, "invalid access to address %p", info->si_addr);
  grid->error = text + (" in " + where(*current));
  current = nullptr;
  siglongjmp(fault_return, 1);
}

// Catches faults while it lives.
class FaultHandler {
 public:
  FaultHandler() {
    static char stack[64 * 1024];
    stack_t alternate{};
    alternate.ss_sp = stack;
    alternate.ss_size = sizeof stack;
    sigaltstack(&alternate, &old_stack_);
    struct sigaction action{};
    action.sa_sigaction = on_fault;
    action.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER;
    sigaction(SIGSEGV, &action, &old_segv_);
    sigaction(SIGBUS, &action, &old_bus_);
  }
  ~FaultHandler() {
    sigaction(SIGSEGV, &old_segv_, nullptr);
    sigaction(SIGBUS, &old_bus_, nullptr);
    sigaltstack(&old_stack_, nullptr);
  }

 private:
  stack_t old_stack_;
  struct sigaction old_segv_, old_bus_;
};

// ---- launch -----------------------------------------------------------------------------------------------------

// Runs blocks [begin, end) of the grid, in linear order of their indices before they are permuted.
inline std::string run(const char* name, dim3 blocks, dim3 threads, size_t shared, int64_t begin, int64_t end,
                       const std::function<void()>& body) {
  Grid state;
  state.kernel = name;
  state.grid = {blocks.x, blocks.y, blocks.z};
  state.block = {threads.x, threads.y, threads.z};
  state.fibers.resize(size_t{threads.x} * threads.y * threads.z);
  state.body = &body;
  for (size_t i = 0; i < state.fibers.size(); ++i) {
    Fiber& fiber = state.fibers[i];
    fiber.index = i;
    fiber.thread = {unsigned(i % threads.x), unsigned(i / threads.x % threads.y), unsigned(i / threads.x / threads.y)};
  }
  std::vector<uint4> dynamic(shared / sizeof(uint4) + 1);
  state.dynamic_shared = reinterpret_cast<char*>(dynamic.data());

  const int seed = order_seed();
  std::mt19937 random(seed);
  const auto block_order = order(begin, end, seed, random);
  grid = &state;
  FaultHandler handler;
  if (sigsetjmp(fault_return, 1) == 0) {
    for (int64_t b : block_order) {
      state.block_index = {unsigned(b % blocks.x), unsigned(b / blocks.x % blocks.y),
                           unsigned(b / blocks.x / blocks.y)};
      memset(dynamic.data(), 0xff, dynamic.size() * sizeof(uint4));
      run_block(seed, random);
      if (!state.error.empty()) break;
    }
  }
  grid = nullptr;
  return state.error;
}

// One letter and one size for each parameter, as in "p8 i8 f4 V3968" (a struct): what a launcher has to pass.
template <class... A>
std::string signature(void (*)(A...)) {
  std::string text;
  ((text += (std::is_pointer_v<A>          ? "p"
             : std::is_floating_point_v<A> ? "f"
             : std::is_class_v<A>          ? "V"
                                           : "i") +
            std::to_string(sizeof(A)) + " "),
   ...);
  return text;
}

// As cuLaunchKernel: arguments[i] points to the i-th parameter. Returns "" or what went wrong.
template <class... A>
std::string launch(const char* name, void (*kernel)(A...), dim3 blocks, dim3 threads, size_t shared, int64_t begin,
                   int64_t end, void** arguments) {
  auto call = [&]<size_t... I>(std::index_sequence<I...>) {
    return run(name, blocks, threads, shared, begin, end, [=] { kernel(*static_cast<A*>(arguments[I])...); });
  };
  return call(std::index_sequence_for<A...>{});
}

// The entries through which a kernel is reached from outside.
#define CUEMU_EXPORT(kernel)                                                                                        \
  extern "C" const char* cuemu_signature_##kernel() {                                                               \
    static std::string text = cuemu::signature(kernel);                                                             \
    return text.c_str();                                                                                            \
  }                                                                                                                 \
  extern "C" const char* cuemu_launch_##kernel(const unsigned* blocks, const unsigned* threads, size_t shared,      \
                                               int64_t begin, int64_t end, void** arguments) {                      \
    static std::string error;                                                                                       \
    error = cuemu::launch(#kernel, kernel, {blocks[0], blocks[1], blocks[2]}, {threads[0], threads[1], threads[2]}, \
                          shared, begin, end, arguments);                                                           \
    return error.c_str();                                                                                           \
  }

// ---- collectives ------------------------------------------------------------------------------------------------

// Waits for all lanes of `mask`; afterwards the fiber's `lanes` hold what each of them brought.
inline void exchange(uint32_t mask, uint64_t value) {
  Fiber* self = current;
  const int warp = self->index / kWarp;
  if (!(mask >> self->lane() & 1)) return fail("warp collective whose mask leaves out the calling lane");
  auto& all = grid->collectives;
  auto at = std::find_if(all.begin(), all.end(), [&](const Collective& c) { return c.warp == warp && c.mask == mask; });
  if (at == all.end()) at = all.insert(at, Collective{warp, mask, 0, {}});
  at->values[self->lane()] = value;
  at->arrived |= 1u << self->lane();
  if (at->arrived != mask) {
    self->mask = mask;
    return wait(State::at_collective);
  }
  const Collective complete = *at;
  all.erase(at);
  for (int lane = 0; lane < kWarp; ++lane) {
    if (!(mask >> lane & 1)) continue;
    Fiber& fiber = grid->fibers[warp * kWarp + lane];
    memcpy(fiber.lanes, complete.values, sizeof fiber.lanes);
    fiber.lanes_present = mask;
    if (&fiber != self) fiber.state = State::ready;
  }
}

template <class T>
T lane_value(int lane) {
  if (!(current->lanes_present >> lane & 1))
    fail("shuffle from lane " + std::to_string(lane) + ", which is outside the mask,");
  T value;
  memcpy(&value, &current->lanes[lane], sizeof value);
  return value;
}

// pick(lane) names the lane to read.
template <class T, class Pick>
T shuffle(uint32_t mask, T value, Pick pick) {
  static_assert(sizeof(T) == 4 || sizeof(T) == 8, "CUDA shuffles 4 or 8 bytes");
  uint64_t bits = 0;
  memcpy(&bits, &value, sizeof value);
  exchange(mask, bits);
  return lane_value<T>(pick(current->lane()));
}

inline uint32_t ballot(uint32_t mask, int predicate) {
  exchange(mask, predicate != 0);
  uint32_t result = 0;
  for (int lane = 0; lane < kWarp; ++lane)
    if (current->lanes_present >> lane & 1) result |= uint32_t(current->lanes[lane]) << lane;
  return result;
}

inline void barrier(int predicate) {
  grid->barrier_value_and &= predicate != 0;
  grid->barrier_value_or |= predicate != 0;
  grid->barrier_count += predicate != 0;
  wait(State::at_barrier);
}

}  // namespace cuemu

// ---- what kernels call --------------------------------------------------------------------------------------------

#define threadIdx (cuemu::current->thread)
#define blockIdx (cuemu::grid->block_index)
#define blockDim (cuemu::grid->block)
#define gridDim (cuemu::grid->grid)
constexpr int warpSize = cuemu::kWarp;
// CUDA writes `extern __shared__ T name[];`
#define CUEMU_DYNAMIC_SHARED(T, name) T* name = reinterpret_cast<T*>(cuemu::grid->dynamic_shared)

inline void __syncthreads() { cuemu::barrier(0); }
inline int __syncthreads_or(int predicate) {
  cuemu::barrier(predicate);
  return cuemu::grid->barrier_or;
}
inline int __syncthreads_and(int predicate) {
  cuemu::barrier(predicate);
  return cuemu::grid->barrier_and;
}
inline int __syncthreads_count(int predicate) {
  cuemu::barrier(predicate);
  return cuemu::grid->barrier_sum;
}
inline void __syncwarp(uint32_t mask = ~0u) { cuemu::exchange(mask, 0); }

template <class T>
T __shfl_sync(uint32_t mask, T value, int source, int width = 32) {
  return cuemu::shuffle(mask, value, [=](int lane) { return (lane & ~(width - 1)) + (source & (width - 1)); });
}
template <class T>
T __shfl_down_sync(uint32_t mask, T value, unsigned delta, int width = 32) {
  return cuemu::shuffle(mask, value,
                        [=](int lane) { return (lane & (width - 1)) + int(delta) < width ? lane + int(delta) : lane; });
}
template <class T>
T __shfl_up_sync(uint32_t mask, T value, unsigned delta, int width = 32) {
  return cuemu::shuffle(mask, value,
                        [=](int lane) { return (lane & (width - 1)) >= int(delta) ? lane - int(delta) : lane; });
}
template <class T>
T __shfl_xor_sync(uint32_t mask, T value, int bits, int width = 32) {
  return cuemu::shuffle(mask, value, [=](int lane) {
    return ((lane ^ bits) & ~(width - 1)) == (lane & ~(width - 1)) ? lane ^ bits : lane;
  });
}
inline uint32_t __ballot_sync(uint32_t mask, int predicate) { return cuemu::ballot(mask, predicate); }
inline int __any_sync(uint32_t mask, int predicate) { return cuemu::ballot(mask, predicate) != 0; }
inline int __all_sync(uint32_t mask, int predicate) { return cuemu::ballot(mask, predicate) == mask; }

// One OS thread runs everything, so an atomic is a read and a write between two waits.
template <class T>
T atomicAdd(T* at, T value) {
  return std::exchange(*at, T(*at + value));
}
template <class T>
T atomicMax(T* at, T value) {
  return std::exchange(*at, std::max(*at, value));
}
template <class T>
T atomicMin(T* at, T value) {
  return std::exchange(*at, std::min(*at, value));
}
template <class T>
T atomicExch(T* at, T value) {
  return std::exchange(*at, value);
}
template <class T>
T atomicCAS(T* at, T expected, T value) {
  return *at == expected ? std::exchange(*at, value) : *at;
}
inline void __threadfence() {}

template <class T>
T __ldg(const T* at) {
  return *at;
}
