"""Where convolving and pooling one after the other is faster than the quarter form, by measurement."""

from __future__ import annotations

from torch import Tensor

__all__ = ["prefers_stock"]


def prefers_stock(input: Tensor, weight: Tensor, groups: int) -> bool:
    return False
