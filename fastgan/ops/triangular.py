"""Products of triangular matrices from blocks: a third of a full product's arithmetic, at the speed of one."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["gram", "transposed_product"]

_BLOCK = 256


def transposed_product(a: Tensor, b: Tensor) -> Tensor:
    """``aᵀ b`` of two lower triangular matrices [d, d]."""
    d = len(a)
    result = a.new_empty(d, d)
    for begin in range(0, d, _BLOCK):
        end = min(begin + _BLOCK, d)
        # Element (i, j) sums over the rows from max(i, j) on.
        torch.mm(a[begin:, :end].mT, b[begin:, begin:end], out=result[:end, begin:end])
        torch.mm(a[begin:, begin:end].mT, b[begin:, :begin], out=result[begin:end, :begin])
    return result


def gram(matrix: Tensor) -> Tensor:
    """The lower triangle of ``matrixᵀ matrix`` [n, n]; what is above the diagonal blocks is not written."""
    n = matrix.shape[1]
    result = matrix.new_zeros(n, n)
    for begin in range(0, n, _BLOCK):
        end = min(begin + _BLOCK, n)
        torch.mm(matrix[:, begin:end].mT, matrix[:, :end], out=result[begin:end, :end])
    return result
