"""The order in which elements have their bits."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["memory_format", "ordered"]


def memory_format(input: Tensor, channels_last: bool) -> torch.memory_format:
    """That of a tensor whose elements lie in memory as their bits do."""
    if not channels_last:
        return torch.contiguous_format
    return torch.channels_last if input.dim() == 4 else torch.channels_last_3d


def ordered(input: Tensor, channels_last: bool) -> Tensor:
    """`input` in this format; a copy only where it has another."""
    return input.contiguous(memory_format=memory_format(input, channels_last))
