"""What the augmentations share: the precision they compute in, and numbers for each sample."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["each", "working"]


def working(input: Tensor) -> Tensor:
    """The batch in float32 where it is of a half type, in which coordinates would be off by pixels."""
    return input.float() if input.dtype in (torch.float16, torch.bfloat16) else input


def each(values: Tensor) -> Tensor:
    """Numbers [N] as [N, 1, 1, 1]."""
    return values[:, None, None, None]
