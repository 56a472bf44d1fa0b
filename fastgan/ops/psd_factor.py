"""Factors of positive semi-definite matrices on the CPU: Cholesky's, and with pivots where there is none."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

__all__ = ["Factor", "factors"]


class Factor(NamedTuple):
    """``sigma = matrix matrixᵀ``.

    Attributes
    ----------
    matrix : Tensor
        [d, rank], float64.
    triangular : bool
        Whether it is lower triangular, which it is where it has full rank.
    dropped : float
        The trace of what the factor leaves out of sigma, beyond rounding.
    """

    matrix: Tensor
    triangular: bool
    dropped: float


def _pivot_tolerance(dtype: torch.dtype, d: int) -> float:
    """Pivots below this share of their diagonal element may be rounding alone."""
    return torch.finfo(dtype).eps * max(d, 64)


def factors(name: str, argument: str, sigma: Tensor) -> list[Factor]:
    """Factor each of the matrices [B, d, d], which is computed once where the batch is one matrix expanded.

    ValueError where one is not positive semi-definite.
    """
    if len(sigma) > 1 and sigma.stride(0) == 0:
        return factors(name, argument, sigma[:1]) * len(sigma)
    matrix = sigma.double()
    lower, info = torch.linalg.cholesky_ex(matrix)
    pivots, diagonals = lower.diagonal(dim1=1, dim2=2).square(), matrix.diagonal(dim1=1, dim2=2)
    tolerance = _pivot_tolerance(sigma.dtype, sigma.shape[1])
    full_rank = ((info == 0) & (pivots > tolerance * diagonals).all(1)).numpy()
    return [
        Factor(lower[i], True, 0.0) if full_rank[i] else _pivoted(name, argument, matrix[i], tolerance)
        for i in range(len(sigma))
    ]


def _pivoted(name: str, argument: str, sigma: Tensor, tolerance: float) -> Factor:
    """The factor of a matrix of deficient rank, scaled to a unit diagonal so that rounding is the same in all rows."""
    diagonal = sigma.diagonal().numpy()
    if (diagonal < 0).any():
        raise ValueError(
            f"{name}: {argument} must be positive semi-definite, got a diagonal element of {diagonal.min():.3g}"
        )
    scale = np.where(diagonal > 0, np.sqrt(diagonal), 1.0)
    scaled = np.tril(sigma.numpy()) / np.outer(scale, scale)
    rows = torch.from_numpy(_pivoted_cholesky(scaled, tolerance))
    left = diagonal / scale**2 - rows.square().sum(1).numpy()  # what the factor leaves of the unit diagonal
    residual = torch.from_numpy(scaled - np.tril((rows @ rows.mT).numpy()))
    worst = residual.abs().max().item() if residual.numel() else 0.0
    if worst > tolerance**0.5:
        raise ValueError(
            f"{name}: {argument} must be positive semi-definite, got one that differs by {worst:.3g} of its diagonal "
            "from any such matrix that its pivots give"
        )
    dropped = float((np.where(left > tolerance, left, 0.0) * scale**2).sum())
    return Factor(rows * torch.from_numpy(scale)[:, None], False, dropped)


def _pivoted_cholesky(matrix: np.ndarray, tolerance: float) -> np.ndarray:
    """[d, rank] from the lower triangle of a matrix with a unit diagonal, as far as pivots exceed the tolerance."""
    try:
        from scipy.linalg.lapack import dpstrf
    except ImportError:  # eigenvectors, ten times as slow
        eigenvalues, vectors = np.linalg.eigh(matrix)
        kept = eigenvalues > tolerance
        return vectors[:, kept] * np.sqrt(eigenvalues[kept])
    factor, pivots, rank, _ = dpstrf(np.asfortranarray(matrix), tol=tolerance, lower=1, overwrite_a=1)
    rows = np.empty((len(matrix), rank))
    rows[pivots - 1] = np.tril(factor)[:, :rank]
    return rows
