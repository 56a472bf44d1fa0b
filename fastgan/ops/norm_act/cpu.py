"""norm_act by the compiled CPU extension (csrc/cpu/norm_act.cpp)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from fastgan.ops import native
from fastgan.ops.bias_act.activations import kernel_code
from fastgan.ops.norm_act import steps
from fastgan.ops.norm_act.reference import norm_act_double_backward
from fastgan.ops.norm_act.steps import View

__all__ = ["moments_of", "norm_act", "norm_act_backward", "norm_act_double_backward", "unsupported_reason"]


def unsupported_reason(device_type: str, dtype: torch.dtype) -> str | None:
    if device_type != "cpu":
        return f"serves CPU tensors, not {device_type}"
    if dtype not in native.DTYPE_CODES:
        return f"does not serve {dtype}"
    return native.unavailable_reason()


def _call(view: View) -> Any:
    return native.extension().NormActCall(
        native.DTYPE_CODES[view.x.dtype],
        kernel_code(view.act, 0.0),  # by the input, whatever alpha
        view.alpha,
        view.gain,
        view.eps,
        view.samples,
        view.channels,
        view.pixels,
        view.channels_last,
        torch.get_num_threads(),
    )


def _parameters(view: View) -> Any:
    def address(parameter: Tensor | None) -> int:
        return 0 if parameter is None else parameter.data_ptr()

    def by_sample(parameter: Tensor | None) -> bool:
        return parameter is not None and parameter.dim() == 2

    return native.extension().NormActParameters(
        address(view.mean),
        address(view.variance),
        by_sample(view.mean),
        address(view.weight),
        by_sample(view.weight),
        address(view.bias),
        by_sample(view.bias),
    )


def _statistics(view: View, by_sample: bool, results: tuple[Tensor, Tensor, Tensor]) -> None:
    addresses = (result.data_ptr() for result in results)
    native.extension().norm_act_statistics(_call(view), view.x.data_ptr(), by_sample, *addresses)


def _forward(view: View, output: Tensor) -> None:
    native.extension().norm_act_forward(_call(view), _parameters(view), view.x.data_ptr(), output.data_ptr())


def _sums(view: View, grad_output: Tensor, sums: Tensor) -> None:
    addresses = grad_output.data_ptr(), view.x.data_ptr(), sums.data_ptr()
    native.extension().norm_act_sums(_call(view), _parameters(view), *addresses)


def _input_gradient(view: View, grad_output: Tensor, moments: Tensor | None, grad_input: Tensor) -> None:
    addresses = grad_output.data_ptr(), view.x.data_ptr(), 0 if moments is None else moments.data_ptr()
    native.extension().norm_act_input_gradient(_call(view), _parameters(view), *addresses, grad_input.data_ptr())


def _pixel_forward(view: View, output: Tensor) -> None:
    native.extension().norm_act_pixel_forward(_call(view), _parameters(view), view.x.data_ptr(), output.data_ptr())


def _pixel_backward(view: View, grad_output: Tensor, grad_input: Tensor, sums: Tensor) -> None:
    addresses = grad_output.data_ptr(), view.x.data_ptr(), grad_input.data_ptr(), sums.data_ptr()
    native.extension().norm_act_pixel_backward(_call(view), _parameters(view), *addresses)


_KERNELS = steps.Kernels(_statistics, _forward, _sums, _input_gradient, _pixel_forward, _pixel_backward)


def moments_of(input: Tensor, *args: Any) -> tuple[Tensor, Tensor, Tensor]:
    """:func:`fastgan.ops.norm_act.steps.moments_of` by these kernels."""
    return steps.moments_of(_KERNELS, input, *args)


def norm_act(input: Tensor, *args: Any) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    return steps.forward(_KERNELS, input, *args)


def norm_act_backward(grad_output: Tensor, input: Tensor, *args: Any) -> tuple[Tensor, Tensor, Tensor]:
    return steps.backward(_KERNELS, grad_output, input, *args)
