"""What the augmentations share: the check of a batch, the precision they compute in, a choice for each sample."""

from __future__ import annotations

import torch
from torch import Tensor

from fastgan.ops import checks

__all__ = ["check_images", "each", "working"]


def check_images(function: str, input: Tensor) -> None:
    """Raise unless `input` is a batch of images of a floating dtype."""
    checks.check_floating(function, "input", input)
    if input.dim() != 4:
        raise ValueError(f"{function}: input must be [N, C, H, W], got {list(input.shape)}")


def working(input: Tensor) -> Tensor:
    """The batch in float32 where it is of a half type, in which coordinates would be off by pixels."""
    return input.float() if input.dtype in (torch.float16, torch.bfloat16) else input


def each(values: Tensor) -> Tensor:
    """Numbers [N] as [N, 1, 1, 1]."""
    return values[:, None, None, None]
