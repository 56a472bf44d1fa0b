"""conv2d_avg_pool2d in plain torch: fallback and oracle."""

from __future__ import annotations

import torch
from torch import Tensor

from fastgan.ops import resampling
from fastgan.ops.conv2d_avg_pool2d import forms

__all__ = ["conv2d_avg_pool2d", "conv2d_avg_pool2d_backward", "unsupported_reason"]


def unsupported_reason(device_type: str, dtype: torch.dtype) -> str | None:
    return None


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
    output = forms.forward("stock", input, weight, bias, gate, act, alpha, padding, groups)
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
    grads = forms.backward("stock", grad_output, input, weight, gate, act, alpha, padding, groups, wanted)
    return resampling.laid_out(grads, input, weight)
