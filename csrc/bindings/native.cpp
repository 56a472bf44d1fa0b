// The Python module. Compiled once per ISA level under the name _native_<level>; fastgan/ops/native.py imports the best
// one that the machine can run.
#include <string>

#include "../common/elementary.h"
#include "bindings.h"

namespace fastgan::bindings {

namespace {

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
  if (name == "exp") return map<A>(input, output, count, [](A x) { return exp_nonpositive(x); });
  if (name == "expm1") return map<A>(input, output, count, [](A x) { return expm1_nonpositive(x); });
  if (name == "log1p") return map<A>(input, output, count, [](A x) { return log1p_unit(x); });
  if (name == "sigmoid") return map<A>(input, output, count, [](A x) { return sigmoid(x); });
  if (name == "tanh") return map<A>(input, output, count, [](A x) { return hyperbolic_tangent(x); });
  throw py::value_error("elementary: unknown function " + name);
}

}  // namespace

}  // namespace fastgan::bindings

PYBIND11_MODULE(FASTGAN_MODULE, module) {
  using namespace fastgan::bindings;
  module.def("supported_levels", &supported_levels);
  module.def("elementary_float32", &elementary<float>);
  module.def("elementary_float64", &elementary<double>);
  bind_bias_act(module);
  bind_box_filter2d(module);
  bind_flip_weight(module);
  bind_norm_act(module);
  bind_spectral_norm(module);
  bind_upfirdn2d(module);
  bind_upsample_add(module);
  bind_winograd(module);
}
