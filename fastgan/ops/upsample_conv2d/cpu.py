"""upsample_conv2d on the CPU: by Winograd's algorithm in float32, where it is asked for or faster.

Else torch's convolution, and our box filter with what belongs to it in one pass.
"""

from __future__ import annotations

import torch
from torch import Tensor

from fastgan.ops import native, resampling
from fastgan.ops.box_filter2d.cpu import box, unsupported_reason
from fastgan.ops.conv2d.choice import Part
from fastgan.ops.upsample_conv2d import forms, winograd
from fastgan.ops.upsample_conv2d.choice import takes_winograd

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


def _takes_winograd(algorithm: str, part: Part, input: Tensor, weight: Tensor, padding: list[int], groups: int) -> bool:
    n, _, height, width = input.shape
    filters, channels = weight.shape[:2]
    return takes_winograd(algorithm, part, input, weight, padding, groups, (n, height, width), (channels, filters))


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
    if input.dtype == torch.float16:
        input, weight, bias, residual = resampling.widened(input, weight, bias, residual)
        wide, gathered = upsample_conv2d(input, weight, bias, padding, groups, residual, statistics, algorithm)
        return wide.half(), gathered
    layout = resampling.output_format(input, weight)
    gathered = resampling.empty_statistics(weight.new_empty(0, weight.shape[0]), statistics)
    written = gathered if statistics else None
    if _takes_winograd(algorithm, "forward", input, weight, padding, groups):
        output = winograd.upsample_conv2d(input, weight, bias, residual, written)
        if output is not None:
            return output.contiguous(memory_format=layout), gathered

    def epilogue(sums: Tensor, bias: Tensor | None) -> Tensor:
        sums = sums.contiguous(memory_format=layout)
        return box(sums, 0, bias=bias, residual=residual, statistics=written)

    form = forms.choose(input, weight, padding, groups)
    output = forms.forward(form, input, weight, bias, padding, groups, epilogue, _flip).contiguous(memory_format=layout)
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
    if input.dtype == torch.float16:
        grad_output, input, weight = resampling.widened(grad_output, input, weight)
        wide = upsample_conv2d_backward(grad_output, input, weight, padding, groups, algorithm, wanted)
        return wide[0].half(), wide[1].half()
    grads: list[Tensor | None] = [None, None]
    if wanted[0] and _takes_winograd(algorithm, "grad_input", input, weight, padding, groups):
        grads[0] = winograd.grad_input(grad_output, input, weight)
    if wanted[1] and _takes_winograd(algorithm, "grad_weight", input, weight, padding, groups):
        grads[1] = winograd.grad_weight(grad_output, input, weight)
    missing = [want and grad is None for want, grad in zip(wanted, grads, strict=True)]
    if any(missing):
        form = forms.choose(input, weight, padding, groups)
        direct = forms.backward(form, grad_output, input, weight, padding, groups, missing, lambda x: box(x, 1), _flip)
        grads = [d if m else g for d, g, m in zip(direct, grads, missing, strict=True)]
    return resampling.laid_out(grads, input, weight)
