// What the bindings of all ops share: raw pointers and sizes in, nothing else.
#pragma once

#include <pybind11/pybind11.h>

#include <cstdint>

namespace fastgan::bindings {

namespace py = pybind11;

using Address = std::uintptr_t;

inline const void* in(Address address) { return reinterpret_cast<const void*>(address); }
inline void* out(Address address) { return reinterpret_cast<void*>(address); }

using WithoutGil = py::call_guard<py::gil_scoped_release>;

// One function a file, named like the op.
void bind_bias_act(py::module_& module);
void bind_box_filter2d(py::module_& module);
void bind_elementary(py::module_& module);
void bind_flip_weight(py::module_& module);
void bind_gate_by_bits(py::module_& module);
void bind_gradient_norm_penalty(py::module_& module);
void bind_interpolate_samples(py::module_& module);
void bind_norm_act(py::module_& module);
void bind_spectral_norm(py::module_& module);
void bind_symmetric_eigh(py::module_& module);
void bind_upfirdn2d(py::module_& module);
void bind_upsample_add(py::module_& module);
void bind_winograd(py::module_& module);
void bind_winograd_upsample(py::module_& module);

}  // namespace fastgan::bindings
