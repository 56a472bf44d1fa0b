"""upsample_conv2d in plain torch: fallback and oracle."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from fastgan.ops import resampling
from fastgan.ops.upsample_conv2d import forms

__all__ = ["unsupported_reason", "upsample_conv2d", "upsample_conv2d_backward"]


def unsupported_reason(device_type: str, dtype: torch.dtype) -> str | None:
    return None


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
    output = F.conv2d(F.interpolate(input, scale_factor=2), weight, bias, padding=padding, groups=groups)
    output = output if residual is None else output + residual
    output = output.contiguous(memory_format=resampling.output_format(input, weight))
    return output, resampling.moments(output) if statistics else resampling.empty_statistics(output, False)


def upsample_conv2d_backward(
    grad_output: Tensor,
    input: Tensor,
    weight: Tensor,
    padding: list[int],
    groups: int,
    algorithm: str,
    wanted: list[bool],
) -> tuple[Tensor, Tensor]:
    grads = forms.backward("stock", grad_output, input, weight, padding, groups, wanted, lambda x: x)
    return resampling.laid_out(grads, input, weight)
