"""upsample_conv2d on the CPU: torch's convolution, and our box filter with what belongs to it in one pass."""

from __future__ import annotations

import torch
from torch import Tensor

from fastgan.ops import native, resampling
from fastgan.ops.box_filter2d.cpu import box, unsupported_reason
from fastgan.ops.upsample_conv2d import forms

__all__ = ["unsupported_reason", "upsample_conv2d", "upsample_conv2d_backward"]


def _flip(weight: Tensor, groups: int, layout: torch.memory_format) -> Tensor:
    c_out, c_in, height, width = weight.shape
    if weight.stride(2) != width * weight.stride(3):  # its taps are not evenly spaced
        weight = torch.empty_like(weight, memory_format=torch.contiguous_format).copy_(weight)
    size = [groups * c_in, c_out // groups, height, width]
    turned = resampling.empty_images(weight, size, layout)
    rows = c_out // groups
    native.extension().flip_weight(
        weight.itemsize, groups, rows, c_in, height * width,
        rows * weight.stride(0), weight.stride(0), weight.stride(1), weight.stride(3),
        c_in * turned.stride(0), turned.stride(1), turned.stride(0), turned.stride(3),
        torch.get_num_threads(), weight.data_ptr(), turned.data_ptr(),
    )  # fmt: skip
    return turned


def upsample_conv2d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    padding: list[int],
    groups: int,
    residual: Tensor | None,
    statistics: bool,
) -> tuple[Tensor, Tensor]:
    layout = resampling.output_format(input, weight)
    gathered = resampling.empty_statistics(weight.new_empty(0, weight.shape[0]), statistics)

    def epilogue(sums: Tensor, bias: Tensor | None) -> Tensor:
        sums = sums.contiguous(memory_format=layout)
        return box(sums, 0, bias=bias, residual=residual, statistics=gathered if statistics else None)

    form = forms.choose(input, weight, padding, groups)
    output = forms.forward(form, input, weight, bias, padding, groups, epilogue, _flip).contiguous(memory_format=layout)
    if residual is not None and form != "quarter":
        output += residual
    if statistics and form != "quarter":
        gathered = resampling.moments(output)
    return output, gathered


def upsample_conv2d_backward(
    grad_output: Tensor, input: Tensor, weight: Tensor, padding: list[int], groups: int, wanted: list[bool]
) -> tuple[Tensor, Tensor]:
    form = forms.choose(input, weight, padding, groups)
    grads = forms.backward(form, grad_output, input, weight, padding, groups, wanted, lambda x: box(x, 1), _flip)
    return resampling.laid_out(grads, input, weight)
