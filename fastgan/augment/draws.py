"""Random parameters of augmentations that reach each sample with a probability."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["Draws", "homogeneous", "rotation"]


class Draws:
    """Draws one number for each sample; zero, which leaves the sample as it is, except with a probability.

    Parameters
    ----------
    images : Tensor
        ``[N, ...]``: the numbers have its dtype and device.
    p : Tensor
        The probability, a scalar.
    """

    def __init__(self, images: Tensor, p: Tensor) -> None:
        self._images = images
        self._p = p

    def normal(self, std: float) -> Tensor:
        """Of N(0, std²), [N]."""
        return self._kept(self._images.new_empty(len(self._images)).normal_(0, std), self._p)

    def uniform(self, limit: float, p: Tensor | None = None) -> Tensor:
        """Of U(-limit, limit), [N]; with another probability where p is given."""
        values = self._images.new_empty(len(self._images)).uniform_(-limit, limit)
        return self._kept(values, self._p if p is None else p)

    def integer(self, count: int) -> Tensor:
        """Of 0, ..., count - 1, [N]."""
        values = torch.randint(count, (len(self._images),), device=self._images.device)
        return self._kept(values.to(self._images.dtype), self._p)

    def _kept(self, values: Tensor, p: Tensor) -> Tensor:
        return values * (torch.rand(len(values), device=values.device) < p)


def homogeneous(linear: Tensor, offset: Tensor) -> Tensor:
    """The matrices [N, d + 1, d + 1] of affine maps, from [N, d, d] and [N, d]."""
    d = offset.shape[1]
    matrix = torch.eye(d + 1, dtype=linear.dtype, device=linear.device).repeat(len(linear), 1, 1)
    matrix[:, :d, :d] = linear
    matrix[:, :d, d] = offset
    return matrix


def rotation(angle: Tensor) -> Tensor:
    """Matrices [N, 2, 2]."""
    cos, sin = angle.cos(), angle.sin()
    return torch.stack([torch.stack([cos, -sin], 1), torch.stack([sin, cos], 1)], 1)
