// The Python module: raw pointers and sizes in, nothing else. Compiled once per ISA level under the name
// _native_<level>; fastgan/ops/native.py imports the best one that the machine can run.
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <array>
#include <cstdint>
#include <vector>

#include "../common/elementary.h"
#include "../cpu/bias_act.h"
#include "../cpu/spectral_norm.h"

namespace py = pybind11;

namespace {

using Address = std::uintptr_t;

const void* in(Address address) { return reinterpret_cast<const void*>(address); }
void* out(Address address) { return reinterpret_cast<void*>(address); }

// The levels this machine runs, best first; asked of the baseline module before the others are imported.
py::list supported_levels() {
  py::list levels;
#if defined(__x86_64__)
  __builtin_cpu_init();
#if defined(__clang__)  // older ones do not know the levels by name
  const bool v3 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi2");
#else
  const bool v3 = __builtin_cpu_supports("x86-64-v3");
#endif
  if (v3 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
      __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl"))
    levels.append("v4");
  if (v3) levels.append("v3");
  levels.append("v2");
#else
  levels.append("base");
#endif
  return levels;
}

// The elementary functions over an array, so that tests can measure their error.
template <class A, class Function>
void map(Address input, Address output, std::int64_t count, Function function) {
  const A* x = reinterpret_cast<const A*>(input);
  A* y = reinterpret_cast<A*>(output);
  for (std::int64_t i = 0; i < count; ++i) y[i] = function(x[i]);
}

template <class A>
void elementary(const std::string& name, Address input, Address output, std::int64_t count) {
  using namespace fastgan;
  if (name == "exp") return map<A>(input, output, count, [](A x) { return exp_nonpositive(x); });
  if (name == "expm1") return map<A>(input, output, count, [](A x) { return expm1_nonpositive(x); });
  if (name == "log1p") return map<A>(input, output, count, [](A x) { return log1p_unit(x); });
  if (name == "sigmoid") return map<A>(input, output, count, [](A x) { return sigmoid(x); });
  if (name == "tanh") return map<A>(input, output, count, [](A x) { return hyperbolic_tangent(x); });
  throw py::value_error("elementary: unknown function " + name);
}

// The members of a group arrive as one flat list of integers: three extents each, then addresses.
using Members = std::vector<std::int64_t>;

template <std::size_t n, class Member, class Make>
std::vector<Member> members(const Members& flat, Make make) {
  std::vector<Member> result;
  for (std::size_t at = 0; at + n + 3 <= flat.size(); at += n + 3) {
    std::array<void*, n> addresses;
    for (std::size_t i = 0; i < n; ++i) addresses[i] = reinterpret_cast<void*>(flat[at + 3 + i]);
    result.push_back(make(fastgan::SpectralShape{flat[at], flat[at + 1], flat[at + 2]}, addresses.data()));
  }
  return result;
}

}  // namespace

PYBIND11_MODULE(FASTGAN_MODULE, module) {
  using fastgan::BiasActCall;
  const auto without_gil = py::call_guard<py::gil_scoped_release>();

  module.def("supported_levels", &supported_levels);
  module.def("elementary_float32", &elementary<float>);
  module.def("elementary_float64", &elementary<double>);

  // module_local: the baseline module and the chosen level are both loaded.
  py::class_<BiasActCall>(module, "BiasActCall", py::module_local())
      .def(py::init([](int dtype, int act, double alpha, double gain, double clamp, std::int64_t outer,
                       std::int64_t channels, std::int64_t inner, int threads) {
        return BiasActCall{fastgan::DType(dtype), act, alpha, gain, clamp, outer, channels, inner, threads};
      }));
  module.def(
      "bias_act",
      [](const BiasActCall& call, Address input, Address bias, Address output) {
        fastgan::bias_act(call, in(input), in(bias), out(output));
      },
      without_gil);
  module.def(
      "bias_act_backward",
      [](const BiasActCall& call, Address grad_output, Address saved, Address bias, Address grad_input,
         Address grad_bias) {
        fastgan::bias_act_backward(call, in(grad_output), in(saved), in(bias), out(grad_input), out(grad_bias));
      },
      without_gil);
  module.def(
      "bias_act_double_backward",
      [](const BiasActCall& call, Address grad_grad_input, Address grad_output, Address saved, Address bias,
         Address grad_grad_output, Address grad_saved) {
        fastgan::bias_act_double_backward(call, in(grad_grad_input), in(grad_output), in(saved), in(bias),
                                          out(grad_grad_output), out(grad_saved));
      },
      without_gil);

  module.def(
      "spectral_norm",
      [](int dtype, int n_power_iterations, double eps, bool v_first, int threads, const Members& flat) {
        const auto weights =
            members<7, fastgan::SpectralWeight>(flat, [](fastgan::SpectralShape shape, void* const* p) {
              return fastgan::SpectralWeight{shape, p[0], p[1], p[2], p[3], p[4], p[5], p[6]};
            });
        fastgan::spectral_norm({fastgan::DType(dtype), n_power_iterations, eps, v_first, threads}, weights);
      },
      without_gil);
  module.def(
      "spectral_norm_backward",
      [](int dtype, int threads, const Members& flat) {
        const auto weights =
            members<6, fastgan::SpectralGradientWeight>(flat, [](fastgan::SpectralShape shape, void* const* p) {
              return fastgan::SpectralGradientWeight{shape, p[0], p[1], p[2], p[3], p[4], p[5]};
            });
        fastgan::spectral_norm_backward(fastgan::DType(dtype), threads, weights);
      },
      without_gil);
  module.def(
      "spectral_norm_double_backward",
      [](int dtype, int threads, const Members& flat) {
        const auto weights =
            members<8, fastgan::SpectralSecondWeight>(flat, [](fastgan::SpectralShape shape, void* const* p) {
              return fastgan::SpectralSecondWeight{shape, p[0], p[1], p[2], p[3], p[4], p[5], p[6], p[7]};
            });
        fastgan::spectral_norm_double_backward(fastgan::DType(dtype), threads, weights);
      },
      without_gil);
  module.def(
      "spectral_norm_input_gradient",
      [](int dtype, int threads, std::int64_t count, Address input, Address grad_input, Address sigma) {
        return fastgan::spectral_norm_input_gradient(fastgan::DType(dtype), threads, count, in(input), out(grad_input),
                                                     in(sigma));
      },
      without_gil);
  module.def(
      "spectral_norm_weight_gradient",
      [](int dtype, int threads, std::int64_t outer, std::int64_t rows, std::int64_t inner, Address grad, Address sigma,
         Address u, Address v, double grad_dot_output) {
        fastgan::spectral_norm_weight_gradient(fastgan::DType(dtype), threads, {outer, rows, inner}, out(grad),
                                               in(sigma), in(u), in(v), grad_dot_output);
      },
      without_gil);
}
