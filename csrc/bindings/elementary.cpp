#include "../cpu/elementary.h"

#include <string>

#include "bindings.h"

namespace fastgan::bindings {

namespace {

template <class A>
void apply(const std::string& name, Address input, Address output, std::int64_t count) {
  if (!elementary(name, static_cast<const A*>(in(input)), static_cast<A*>(out(output)), count))
    throw py::value_error("elementary: unknown function " + name);
}

}  // namespace

void bind_elementary(py::module_& module) {
  module.def("elementary_float32", &apply<float>);
  module.def("elementary_float64", &apply<double>);
}

}  // namespace fastgan::bindings
