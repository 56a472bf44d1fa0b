"""Mirror images."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from fastgan.augment.batch import each
from fastgan.ops import checks

__all__ = ["RandomHorizontalFlip"]


class RandomHorizontalFlip(nn.Module):
    """Mirrors each image of a batch left to right with a probability; in evaluation mode none.

    Parameters
    ----------
    p : float, default 0.5
        The probability, in [0, 1].

    Shape
    -----
    Input and output ``[N, C, H, W]``, of any dtype; differentiable to any order.
    """

    def __init__(self, p: float = 0.5) -> None:
        super().__init__()
        checks.check_number("RandomHorizontalFlip", "p", p)
        if not 0 <= p <= 1:
            raise ValueError(f"RandomHorizontalFlip: p must be in [0, 1], got {p}")
        self.p = p

    def forward(self, input: Tensor) -> Tensor:
        """Return the batch with some images mirrored."""
        checks.check_images("RandomHorizontalFlip", "input", input)
        if not self.training:
            return input
        chosen = torch.rand(len(input), device=input.device) < self.p
        return torch.where(each(chosen), input.flip(3), input)

    def extra_repr(self) -> str:
        """The probability."""
        return f"p={self.p}"
