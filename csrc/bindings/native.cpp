// The Python module: raw pointers and sizes in, nothing else. Compiled once per ISA level under the name
// _native_<level>; fastgan/ops/native.py imports the best one that the machine can run.
#include <pybind11/pybind11.h>

#include <cstdint>

#include "../common/elementary.h"
#include "../cpu/bias_act.h"

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
}
