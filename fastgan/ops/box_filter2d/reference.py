"""box_filter2d in plain torch: fallback and oracle."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from fastgan.ops.layout import image_format
from fastgan.ops.piecewise_linear import activated, sloped

__all__ = ["box_filter2d", "box_filter2d_backward", "unsupported_reason"]


def unsupported_reason(device_type: str, dtype: torch.dtype) -> str | None:
    return None


def _box(x: Tensor, padding: int, scale: float) -> Tensor:
    wide = x.float() if x.dtype in (torch.float16, torch.bfloat16) else x
    wide = F.pad(wide, (padding,) * 4)
    rows = wide[:, :, :-1] + wide[:, :, 1:]
    return ((rows[..., :-1] + rows[..., 1:]) * scale).to(x.dtype)


def box_filter2d(input: Tensor, gate: Tensor | None, act: str, alpha: float, padding: int, scale: float) -> Tensor:
    output = _box(activated(input, gate, act, alpha), padding, scale)
    return output.contiguous(memory_format=image_format(input))


def box_filter2d_backward(
    grad_output: Tensor, gate: Tensor | None, act: str, alpha: float, padding: int, scale: float
) -> Tensor:
    grad = sloped(_box(grad_output, 1 - padding, scale), gate, act, alpha)
    return grad.contiguous(memory_format=image_format(grad_output))
