"""conv2d_avg_pool2d on GPUs: our box filter in Triton, and the vendor's strided convolution."""

from __future__ import annotations

from torch import Tensor

from fastgan.ops import resampling, tuned
from fastgan.ops.box_filter2d.triton import box, unsupported_reason
from fastgan.ops.conv2d_avg_pool2d import forms

__all__ = ["conv2d_avg_pool2d", "conv2d_avg_pool2d_backward", "unsupported_reason"]


def _choose(input: Tensor, weight: Tensor, padding: list[int], groups: int) -> str:
    form = forms.choose(input, weight, padding, groups)
    if form != "quarter" or list(weight.shape[2:]) != [3, 3] or groups != 1:  # the layers that a table can have
        return form
    return tuned.form_for("conv2d_avg_pool2d", input, weight) or form


def conv2d_avg_pool2d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    gate: Tensor | None,
    act: str,
    alpha: float,
    padding: list[int],
    groups: int,
    algorithm: str,
) -> Tensor:
    form = _choose(input, weight, padding, groups)
    output = forms.forward(form, input, weight, bias, gate, act, alpha, padding, groups, box)
    return output.contiguous(memory_format=resampling.output_format(input, weight))


def conv2d_avg_pool2d_backward(
    grad_output: Tensor,
    input: Tensor,
    weight: Tensor,
    gate: Tensor | None,
    act: str,
    alpha: float,
    padding: list[int],
    groups: int,
    algorithm: str,
    wanted: list[bool],
) -> tuple[Tensor, Tensor]:
    form = _choose(input, weight, padding, groups)
    grads = forms.backward(form, grad_output, input, weight, gate, act, alpha, padding, groups, wanted, box)
    return resampling.laid_out(grads, input, weight)
