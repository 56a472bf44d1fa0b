// The Python module, the same for every ISA level: module/init.cpp gives it the level's name, and fastgan/ops/native.py
// imports the best one that the machine can run.
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

}  // namespace

}  // namespace fastgan::bindings

PYBIND11_MODULE(_native, module) {
  using namespace fastgan::bindings;
  module.def("supported_levels", &supported_levels);
  bind_bias_act(module);
  bind_box_filter2d(module);
  bind_elementary(module);
  bind_flip_weight(module);
  bind_gate_by_bits(module);
  bind_gradient_norm_penalty(module);
  bind_interpolate_samples(module);
  bind_norm_act(module);
  bind_spectral_norm(module);
  bind_symmetric_eigh(module);
  bind_upfirdn2d(module);
  bind_upsample_add(module);
  bind_winograd(module);
  bind_winograd_upsample(module);
}
