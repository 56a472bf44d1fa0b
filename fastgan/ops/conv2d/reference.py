"""conv2d in plain torch: fallback and oracle."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from fastgan.ops import resampling

__all__ = ["conv2d", "conv2d_backward", "unsupported_reason"]


def unsupported_reason(device_type: str, dtype: torch.dtype) -> str | None:
    return None


def conv2d(input: Tensor, weight: Tensor, bias: Tensor | None, padding: list[int], algorithm: str) -> Tensor:
    output = F.conv2d(input, weight, bias, padding=padding)
    return output.contiguous(memory_format=resampling.output_format(input, weight))


def conv2d_backward(
    grad_output: Tensor, input: Tensor, weight: Tensor, padding: list[int], algorithm: str, wanted: list[bool]
) -> tuple[Tensor, Tensor]:
    grads = resampling.convolution_backward(grad_output, input, weight, 1, padding, 1, wanted)
    return resampling.laid_out(grads, input, weight)
