#include "../cpu/spectral_norm.h"

#include <pybind11/stl.h>

#include <array>
#include <vector>

#include "bindings.h"

namespace fastgan::bindings {

namespace {

// The members of a group arrive as one flat list of integers: three extents each, then addresses.
using Members = std::vector<std::int64_t>;

template <std::size_t n, class Member, class Make>
std::vector<Member> members(const Members& flat, Make make) {
  std::vector<Member> result;
  for (std::size_t at = 0; at + n + 3 <= flat.size(); at += n + 3) {
    std::array<void*, n> addresses;
    for (std::size_t i = 0; i < n; ++i) addresses[i] = reinterpret_cast<void*>(flat[at + 3 + i]);
    result.push_back(make(SpectralShape{flat[at], flat[at + 1], flat[at + 2]}, addresses.data()));
  }
  return result;
}

}  // namespace

void bind_spectral_norm(py::module_& module) {
  module.def(
      "spectral_norm",
      [](int dtype, int n_power_iterations, double eps, bool v_first, int threads, const Members& flat) {
        const auto weights = members<7, SpectralWeight>(flat, [](SpectralShape shape, void* const* p) {
          return SpectralWeight{shape, p[0], p[1], p[2], p[3], p[4], p[5], p[6]};
        });
        spectral_norm({DType(dtype), n_power_iterations, eps, v_first, threads}, weights);
      },
      WithoutGil());
  module.def(
      "spectral_norm_backward",
      [](int dtype, int threads, const Members& flat) {
        const auto weights = members<6, SpectralGradientWeight>(flat, [](SpectralShape shape, void* const* p) {
          return SpectralGradientWeight{shape, p[0], p[1], p[2], p[3], p[4], p[5]};
        });
        spectral_norm_backward(DType(dtype), threads, weights);
      },
      WithoutGil());
  module.def(
      "spectral_norm_double_backward",
      [](int dtype, int threads, const Members& flat) {
        const auto weights = members<8, SpectralSecondWeight>(flat, [](SpectralShape shape, void* const* p) {
          return SpectralSecondWeight{shape, p[0], p[1], p[2], p[3], p[4], p[5], p[6], p[7]};
        });
        spectral_norm_double_backward(DType(dtype), threads, weights);
      },
      WithoutGil());
  module.def(
      "spectral_norm_input_gradient",
      [](int dtype, int threads, std::int64_t count, Address input, Address grad_input, Address sigma) {
        return spectral_norm_input_gradient(DType(dtype), threads, count, in(input), out(grad_input), in(sigma));
      },
      WithoutGil());
  module.def(
      "spectral_norm_weight_gradient",
      [](int dtype, int threads, std::int64_t outer, std::int64_t rows, std::int64_t inner, Address grad, Address sigma,
         Address u, Address v, double grad_dot_output) {
        spectral_norm_weight_gradient(DType(dtype), threads, {outer, rows, inner}, out(grad), in(sigma), in(u), in(v),
                                      grad_dot_output);
      },
      WithoutGil());
}

}  // namespace fastgan::bindings
