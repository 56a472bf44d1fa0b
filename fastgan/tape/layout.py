"""Which sample each element of a tensor belongs to, followed through operations that move elements."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

__all__ = ["Layout"]


@dataclass(frozen=True)
class Layout:
    """Sample ``i // inner`` for index i along dimension `dim`: frames may be folded into the batch, sample by sample.

    Attributes
    ----------
    samples : int
    dim : int
    inner : int
        Rows along `dim` that belong to each sample.
    """

    samples: int
    dim: int
    inner: int = 1

    @property
    def rows(self) -> int:
        """The size of the dimension."""
        return self.samples * self.inner

    def spread(self, per_sample: Tensor, rank: int) -> Tensor:
        """One value a sample, ``[samples]``, in a shape that broadcasts against a tensor of this layout."""
        rows = per_sample if self.inner == 1 else per_sample.repeat_interleave(self.inner)
        return rows.view([-1 if i == self.dim else 1 for i in range(rank)])

    def per_sample(self, tensor: Tensor) -> Tensor:
        """The elements of a tensor of this layout as ``[samples, ...]``."""
        return tensor.movedim(self.dim, 0).reshape(self.samples, -1)

    def broadcast(self, shape: Sequence[int], to: Sequence[int]) -> Layout | None:
        """The layout after broadcasting; None where that repeats samples."""
        dim = self.dim + len(to) - len(shape)
        return Layout(self.samples, dim, self.inner) if to[dim] == self.rows else None

    def reshaped(self, before: Sequence[int], after: Sequence[int]) -> Layout | None:
        """The layout after a reshape; None where samples are no whole stretches of one dimension afterwards."""
        outer = math.prod(before[: self.dim])
        for dim, size in enumerate(after):
            if math.prod(after[:dim]) == outer and size and size % self.samples == 0:
                return Layout(self.samples, dim, size // self.samples)
        return None

    def reduced(self, rank: int, dims: Sequence[int], keepdim: bool) -> Layout | None:
        """The layout after a reduction over `dims`; None where that mixes samples."""
        reduced = {dim % rank for dim in dims}
        if self.dim in reduced:
            return None
        return self if keepdim else Layout(self.samples, self.dim - sum(d < self.dim for d in reduced), self.inner)

    def viewed(self, shape: Sequence[int], view: Callable[[Tensor], Any]) -> list[Layout | None]:
        """The layout of each tensor that a function makes views of; None where it takes only some of the samples."""
        # A tensor without memory whose only step is along the samples shows where they go.
        strides = [int(i == self.dim) for i in range(len(shape))]
        results = view(torch.empty_strided(shape, strides, device="meta"))
        return [self._seen_in(each) for each in ([results] if isinstance(results, Tensor) else results)]

    def _seen_in(self, view: Tensor) -> Layout | None:
        found = [dim for dim, stride in enumerate(view.stride()) if stride]
        if len(found) != 1 or view.storage_offset() or view.stride(found[0]) != 1 or view.size(found[0]) != self.rows:
            return None
        return Layout(self.samples, found[0], self.inner)
