"""A weight seen as the matrix whose norm is taken: its rows run along one dimension, its columns along the rest.

Kernels read a weight where it lies: up to the order of the columns every dense tensor is ``[outer, rows, inner]`` in
memory (``layout.channel_extents``), and only the short vector v is brought into memory's order.
"""

from __future__ import annotations

import functools
import math

import torch
from torch import Tensor

__all__ = ["as_matrix", "columns", "columns_in_memory", "columns_of", "from_matrix"]


def columns(weight: Tensor, dim: int) -> int:
    """The number of columns, the length of v."""
    shape = weight.shape
    return math.prod(shape[:dim]) * math.prod(shape[dim + 1 :])


@functools.lru_cache(maxsize=4096)
def _memory_order(
    shape: torch.Size, strides: tuple[int, ...], dim: int
) -> tuple[list[int], list[int], list[int]] | None:
    """Sizes of the columns' dimensions, their order in memory and its inverse; None where that is their own order."""
    moving = [d for d, size in enumerate(shape) if d != dim and size != 1]
    by_stride = sorted(moving, key=strides.__getitem__, reverse=True)
    if by_stride == moving:
        return None
    permutation = [moving.index(d) for d in by_stride]
    return [shape[d] for d in moving], permutation, sorted(range(len(permutation)), key=permutation.__getitem__)


def columns_in_memory(v: Tensor, weight: Tensor, dim: int) -> Tensor:
    """`v`, one entry a column, in the order in which the dense `weight` has its columns in memory; contiguous."""
    order = _memory_order(weight.shape, weight.stride(), dim)
    if order is None:
        return v.contiguous()
    sizes, permutation, _ = order
    return v.view(sizes).permute(permutation).reshape(-1)


def columns_of(v: Tensor, weight: Tensor, dim: int) -> Tensor:
    """The inverse of :func:`columns_in_memory`."""
    order = _memory_order(weight.shape, weight.stride(), dim)
    if order is None:
        return v
    sizes, permutation, inverse = order
    return v.view([sizes[p] for p in permutation]).permute(inverse).reshape(-1)


def as_matrix(weight: Tensor, dim: int) -> Tensor:
    """``[rows, columns]``, a view where strides allow it."""
    return weight.movedim(dim, 0).reshape(weight.shape[dim], columns(weight, dim))


def from_matrix(matrix: Tensor, weight: Tensor, dim: int) -> Tensor:
    """The inverse of :func:`as_matrix` for a matrix like that of `weight`."""
    others = [size for d, size in enumerate(weight.shape) if d != dim]
    return matrix.reshape([weight.shape[dim], *others]).movedim(0, dim)
