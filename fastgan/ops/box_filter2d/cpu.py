"""box_filter2d by the compiled CPU extension (csrc/cpu/box_filter2d.cpp)."""

from __future__ import annotations

import torch
from torch import Tensor

from fastgan.ops import native
from fastgan.ops.bias_act.activations import kernel_code
from fastgan.ops.bias_act.cpu import unsupported_reason
from fastgan.ops.layout import image_format, image_planes

__all__ = ["box", "box_filter2d", "box_filter2d_backward", "unsupported_reason"]


def box(
    input: Tensor,
    padding: int,
    scale: float = 1.0,
    act: str = "linear",
    alpha: float = 0.0,
    input_gate: Tensor | None = None,
    output_gate: Tensor | None = None,
    bias: Tensor | None = None,
    residual: Tensor | None = None,
    statistics: Tensor | None = None,
) -> Tensor:
    """Scale · Box(act(input)) with what the kernel fuses before and after; writes `statistics` where given."""
    n, c, h, w = input.shape
    layout = image_format(input)
    input = input.contiguous(memory_format=layout)
    size = (n, c, h - 1 + 2 * padding, w - 1 + 2 * padding)
    output = torch.empty(size, dtype=input.dtype, memory_format=layout)
    planes, inner = image_planes(input)
    input_gate, output_gate, residual = (
        None if x is None else x.contiguous(memory_format=layout) for x in (input_gate, output_gate, residual)
    )
    bias = None if bias is None else bias.contiguous()
    native.extension().box_filter2d(
        native.DTYPE_CODES[input.dtype], kernel_code(act, 0.0), alpha, scale, planes, h, w, inner, c, padding,
        torch.get_num_threads(), input.data_ptr(),
        *(0 if x is None else x.data_ptr() for x in (input_gate, output_gate, bias, residual)),
        output.data_ptr(), 0 if statistics is None else statistics.data_ptr(),
    )  # fmt: skip
    return output


def box_filter2d(input: Tensor, gate: Tensor | None, act: str, alpha: float, padding: int, scale: float) -> Tensor:
    return box(input, padding, scale, act, alpha, input_gate=gate)


def box_filter2d_backward(
    grad_output: Tensor, gate: Tensor | None, act: str, alpha: float, padding: int, scale: float
) -> Tensor:
    return box(grad_output, 1 - padding, scale, act, alpha, output_gate=gate)
