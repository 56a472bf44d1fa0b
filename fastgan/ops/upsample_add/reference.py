"""upsample_add in plain torch: fallback and oracle."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from fastgan.ops import resampling
from fastgan.ops.layout import image_format

__all__ = ["unsupported_reason", "upsample_add"]


def unsupported_reason(device_type: str, dtype: torch.dtype) -> str | None:
    return None


def upsample_add(input: Tensor, low: Tensor, statistics: bool) -> tuple[Tensor, Tensor]:
    output = (input + F.interpolate(low, scale_factor=2)).contiguous(memory_format=image_format(input))
    return output, resampling.moments(output) if statistics else resampling.empty_statistics(output, False)
