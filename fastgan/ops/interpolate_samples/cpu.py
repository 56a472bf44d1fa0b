"""interpolate_samples by the compiled CPU extension (csrc/cpu/interpolate_samples.cpp)."""

from __future__ import annotations

import torch
from torch import Tensor

from fastgan.ops import native
from fastgan.ops.bias_act.cpu import unsupported_reason
from fastgan.ops.layout import match_layout
from fastgan.ops.samples import extents, restored, sample_major

__all__ = ["interpolate_samples", "interpolate_samples_backward", "unsupported_reason"]


def interpolate_samples(input: Tensor, other: Tensor, eps: Tensor) -> Tensor:
    x, eps = sample_major(input), eps.contiguous()
    y = match_layout(other, x)
    output = torch.empty_like(x)
    native.extension().interpolate_samples(
        native.DTYPE_CODES[x.dtype], *extents(x), torch.get_num_threads(),
        x.data_ptr(), y.data_ptr(), eps.data_ptr(), output.data_ptr(),
    )  # fmt: skip
    return restored(output, input)


def interpolate_samples_backward(
    grad_output: Tensor, eps: Tensor, of_input: bool, of_other: bool
) -> tuple[Tensor, Tensor]:
    grad, eps = sample_major(grad_output), eps.contiguous()
    wanted = of_input, of_other
    outputs = [torch.empty_like(grad) if is_wanted else grad.new_empty(0) for is_wanted in wanted]
    native.extension().interpolate_samples_backward(
        native.DTYPE_CODES[grad.dtype], *extents(grad), torch.get_num_threads(), grad.data_ptr(), eps.data_ptr(),
        *(output.data_ptr() if is_wanted else 0 for output, is_wanted in zip(outputs, wanted, strict=True)),
    )  # fmt: skip
    grad_input, grad_other = (
        restored(output, grad_output) if is_wanted else output
        for output, is_wanted in zip(outputs, wanted, strict=True)
    )
    return grad_input, grad_other
