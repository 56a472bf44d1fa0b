#include "../cpu/upfirdn2d.h"

#include "bindings.h"

namespace fastgan::bindings {

namespace {

// input, output, taps, up, down, padding in front
ResampledAxis axis(const py::tuple& values) {
  const auto at = [&](int i) { return values[i].cast<std::int64_t>(); };
  return {at(0), at(1), at(2), at(3), at(4), at(5)};
}

}  // namespace

void bind_upfirdn2d(py::module_& module) {
  // module_local: the baseline module and the chosen level are both loaded.
  py::class_<Upfirdn2dCall>(module, "Upfirdn2dCall", py::module_local())
      .def(py::init([](int dtype, std::int64_t planes, std::int64_t inner, const py::tuple& y, const py::tuple& x,
                       bool separable, bool flip, double gain, int threads) {
        return Upfirdn2dCall{DType(dtype), planes, inner, axis(y), axis(x), separable, flip, gain, threads};
      }));
  module.def(
      "upfirdn2d",
      [](const Upfirdn2dCall& call, Address input, Address filter, Address output) {
        upfirdn2d(call, in(input), in(filter), out(output));
      },
      WithoutGil());
}

}  // namespace fastgan::bindings
