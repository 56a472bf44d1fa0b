// Output tensors often lie in memory the system has just handed out: each 4 KB page then costs a fault when it is first
// written, which for a kernel that only streams is most of its time. Asking for many pages at once, shortly before they
// are written, costs about two thirds of that (Linux 5.14 and later); elsewhere nothing happens. Memory that is already
// there is left alone, at the price of one system call in 256 KB.
#pragma once

#include <cstddef>
#include <cstdint>

#if defined(__linux__)
#include <sys/mman.h>
#include <unistd.h>
#endif

namespace fastgan {

// Follows one thread's writes through a tensor, in rising order.
template <class T>
class FreshMemory {
 public:
  FreshMemory(T* data, int64_t begin, int64_t total) : data_(data), reached_(begin), total_(total) {}

  // Elements up to `end` are about to be written.
  void reach(int64_t end) {
    while (reached_ < end) {
      const int64_t next = reached_ + kChunk < total_ ? reached_ + kChunk : total_;
      if (next - reached_ == kChunk) populate(data_ + reached_, kChunk * sizeof(T));  // a shorter rest is not worth it
      reached_ = next;
    }
  }

 private:
  static constexpr int64_t kChunk = (256 << 10) / sizeof(T);

  static void populate([[maybe_unused]] T* data, [[maybe_unused]] std::size_t bytes) {
#if defined(__linux__)
    constexpr int kPopulateWrite = 23;  // MADV_POPULATE_WRITE, which older headers lack
    static const std::uintptr_t page = static_cast<std::uintptr_t>(sysconf(_SC_PAGESIZE));
    const std::uintptr_t first = (reinterpret_cast<std::uintptr_t>(data) + page - 1) & ~(page - 1);
    const std::uintptr_t last = (reinterpret_cast<std::uintptr_t>(data) + bytes) & ~(page - 1);
    if (last < first + 2 * page) return;
    unsigned char resident = 1;
    if (mincore(reinterpret_cast<void*>(last - page), page, &resident) != 0 || (resident & 1)) return;
    madvise(reinterpret_cast<void*>(first), last - first, kPopulateWrite);  // only advice: failure changes nothing
#endif
  }

  T* data_;
  int64_t reached_, total_;
};

}  // namespace fastgan
