"""conv2d_avg_pool2d in plain torch: fallback and oracle."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from fastgan.ops import resampling
from fastgan.ops.conv2d_avg_pool2d import forms

__all__ = ["conv2d_avg_pool2d", "conv2d_avg_pool2d_backward", "unsupported_reason"]


def unsupported_reason(device_type: str, dtype: torch.dtype) -> str | None:
    return None


def conv2d_avg_pool2d(input: Tensor, weight: Tensor, bias: Tensor | None, padding: list[int], groups: int) -> Tensor:
    output = F.avg_pool2d(F.conv2d(input, weight, bias, padding=padding, groups=groups), 2)
    return output.contiguous(memory_format=resampling.output_format(input, weight))


def conv2d_avg_pool2d_backward(
    grad_output: Tensor, input: Tensor, weight: Tensor, padding: list[int], groups: int, wanted: list[bool]
) -> tuple[Tensor, Tensor]:
    grads = forms.backward("stock", grad_output, input, weight, padding, groups, wanted, lambda x, _: x)
    return resampling.laid_out(grads, input, weight)
