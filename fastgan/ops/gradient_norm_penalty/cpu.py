"""gradient_norm_penalty by the compiled CPU extension (csrc/cpu/gradient_norm_penalty.cpp)."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from fastgan.ops import native
from fastgan.ops.bias_act.cpu import unsupported_reason
from fastgan.ops.layout import accumulator
from fastgan.ops.samples import extents, restored, sample_major

__all__ = ["gradient_norm_penalty", "gradient_norm_penalty_backward", "unsupported_reason"]


def gradient_norm_penalty(
    gradient: Tensor, weight: float, center: float | None, one_sided: bool
) -> tuple[Tensor, Tensor]:
    x = sample_major(gradient)
    penalty = x.new_empty((), dtype=accumulator(x.dtype))
    scale = penalty.new_empty(x.shape[0])
    native.extension().gradient_norm_penalty(
        native.DTYPE_CODES[x.dtype], *extents(x), torch.get_num_threads(),
        weight, math.nan if center is None else center, one_sided,
        x.data_ptr(), penalty.data_ptr(), scale.data_ptr(),
    )  # fmt: skip
    return penalty, scale


def gradient_norm_penalty_backward(
    gradient: Tensor, scale: Tensor, grad_output: Tensor, weight: float, center: float | None, one_sided: bool
) -> Tensor:
    x, scale = sample_major(gradient), scale.contiguous()
    output = torch.empty_like(x)
    native.extension().gradient_norm_penalty_backward(
        native.DTYPE_CODES[x.dtype], *extents(x), torch.get_num_threads(),
        x.data_ptr(), scale.data_ptr(), grad_output.data_ptr(), output.data_ptr(),
    )  # fmt: skip
    return restored(output, gradient)
