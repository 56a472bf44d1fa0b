// How threads share the elements of a tensor, and how they go through those of its samples.
#pragma once

#include <algorithm>
#include <cstdint>

#include "samples.h"

namespace fastgan {

// No piece of work is longer.
constexpr int64_t kPiece = 4096;

// Calls work(begin, end) on disjoint ranges of elements covering [0, total), which end on multiples of 64.
template <class Work>
void for_ranges(int64_t total, int threads, Work work) {
  const int used = threads_for(total, threads);
#pragma omp parallel for num_threads(used) schedule(static, 1) if (used > 1)
  for (int thread = 0; thread < used; ++thread) {
    const auto bound = [&](int t) { return t == used ? total : total * t / used / 64 * 64; };
    work(bound(thread), bound(thread + 1));
  }
}

// Calls body(sample, first element, count) for each piece of a sample in [begin, end).
template <class Body>
void for_pieces(const SamplesCall& call, int64_t begin, int64_t end, Body body) {
  for (int64_t first = begin; first < end;) {
    const int64_t sample = first / call.length;
    const int64_t count = std::min({(sample + 1) * call.length - first, end - first, kPiece});
    body(sample, first, count);
    first += count;
  }
}

}  // namespace fastgan
