"""box_filter2d in plain torch: fallback and oracle."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from fastgan.ops.layout import image_format

__all__ = ["box_filter2d", "box_filter2d_backward", "unsupported_reason"]


def unsupported_reason(device_type: str, dtype: torch.dtype) -> str | None:
    return None


def _slope(gate: Tensor, act: str, alpha: float) -> Tensor:
    below = {"linear": 1.0, "relu": 0.0, "lrelu": alpha}[act]
    return torch.full_like(gate, below).masked_fill(gate > 0, 1.0)


def _box(x: Tensor, padding: int, scale: float) -> Tensor:
    wide = x.float() if x.dtype in (torch.float16, torch.bfloat16) else x
    wide = F.pad(wide, (padding,) * 4)
    rows = wide[:, :, :-1] + wide[:, :, 1:]
    return ((rows[..., :-1] + rows[..., 1:]) * scale).to(x.dtype)


def box_filter2d(input: Tensor, gate: Tensor | None, act: str, alpha: float, padding: int, scale: float) -> Tensor:
    if gate is not None:
        input = input * _slope(gate, act, alpha)
    elif act != "linear":
        input = F.relu(input) if act == "relu" else F.leaky_relu(input, alpha)
    return _box(input, padding, scale).contiguous(memory_format=image_format(input))


def box_filter2d_backward(
    grad_output: Tensor, gate: Tensor | None, act: str, alpha: float, padding: int, scale: float
) -> Tensor:
    sums = _box(grad_output, 1 - padding, scale)
    grad = sums if gate is None else sums * _slope(gate, act, alpha)
    return grad.contiguous(memory_format=image_format(grad_output))
