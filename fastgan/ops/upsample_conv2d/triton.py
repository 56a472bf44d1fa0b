"""upsample_conv2d on GPUs: the vendor's strided convolutions and our box filter, or one kernel of our own.

The backward is the vendor's too: both gradients come from the box filter of the output's gradient, made once.
"""

from __future__ import annotations

from torch import Tensor

from fastgan.ops import resampling
from fastgan.ops.box_filter2d.triton import box, unsupported_reason
from fastgan.ops.upsample_conv2d import forms
from fastgan.ops.upsample_conv2d.triton_flip import flip
from fastgan.ops.upsample_conv2d.triton_fused import fused
from fastgan.ops.upsample_conv2d.triton_phase import phase
from fastgan.ops.upsample_conv2d.triton_plan import choose

__all__ = ["KERNELS", "unsupported_reason", "upsample_conv2d", "upsample_conv2d_backward"]


#: The forms that are one kernel of our own; their derivatives are those of the quarter form.
KERNELS = {"fused": fused, "phase": phase}


def upsample_conv2d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    padding: list[int],
    groups: int,
    residual: Tensor | None,
    statistics: bool,
    algorithm: str,
) -> tuple[Tensor, Tensor]:
    layout = resampling.output_format(input, weight)
    gathered = resampling.empty_statistics(weight.new_empty(0, weight.shape[0]), statistics)
    written = gathered if statistics else None
    form = choose(input, weight, padding, groups) if input.numel() else "stock"
    if form in KERNELS:
        return KERNELS[form](input, weight, bias, residual, written), gathered

    def epilogue(sums: Tensor, bias: Tensor | None) -> Tensor:
        return box(sums.contiguous(memory_format=layout), 0, bias=bias, residual=residual, statistics=written)

    output = forms.forward(form, input, weight, bias, padding, groups, epilogue, flip).contiguous(memory_format=layout)
    if residual is not None and form != "quarter":
        output += residual
    if statistics and form != "quarter":
        gathered = resampling.moments(output)
    return output, gathered


def upsample_conv2d_backward(
    grad_output: Tensor,
    input: Tensor,
    weight: Tensor,
    padding: list[int],
    groups: int,
    algorithm: str,
    wanted: list[bool],
) -> tuple[Tensor, Tensor]:
    form = choose(input, weight, padding, groups) if input.numel() else "stock"
    if form in KERNELS:
        form = "quarter"
    grads = forms.backward(form, grad_output, input, weight, padding, groups, wanted, lambda x: box(x, 1), flip)
    return resampling.laid_out(grads, input, weight)
