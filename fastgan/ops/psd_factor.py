"""Factors of positive semi-definite matrices on the CPU: Cholesky's, and with pivots where there is none."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

__all__ = ["Factor", "factors"]

#: A pivot above this share of its diagonal element is no rounding, however much of it earlier pivots amplify: of as
#: many samples as features, whose covariance has no full rank, Cholesky's last pivot is seen to reach 1e-10.
_CERTAIN = 1e-8


class Factor(NamedTuple):
    """``sigma = matrix matrixᵀ``.

    Attributes
    ----------
    matrix : Tensor
        [d, rank], float64.
    triangular : bool
        Whether it is lower triangular, which Cholesky's of full rank is.
    dropped : float
        The trace of what the factor leaves out of sigma, beyond rounding.
    """

    matrix: Tensor
    triangular: bool
    dropped: float


def factors(name: str, argument: str, sigma: Tensor) -> list[Factor]:
    """Factor each of the matrices [B, d, d], which is computed once where the batch is one matrix expanded.

    ValueError where one is not positive semi-definite.
    """
    if len(sigma) > 1 and sigma.stride(0) == 0:
        return factors(name, argument, sigma[:1]) * len(sigma)
    matrix = sigma.double()
    lower, info = torch.linalg.cholesky_ex(matrix)
    pivots, diagonals = lower.diagonal(dim1=1, dim2=2).square(), matrix.diagonal(dim1=1, dim2=2)
    exists = (info == 0).numpy()
    certain = (pivots > _CERTAIN * diagonals).all(1).numpy()
    result = []
    for i in range(len(sigma)):
        triangle = Factor(lower[i], True, 0.0)
        if not (exists[i] and certain[i]):
            pivoted = _pivoted(name, argument, matrix[i], torch.finfo(sigma.dtype).eps)
            if not exists[i] or pivoted.matrix.shape[1] < sigma.shape[1]:
                triangle = pivoted
        result.append(triangle)
    return result


def _pivoted(name: str, argument: str, sigma: Tensor, eps: float) -> Factor:
    """The factor of a matrix of deficient rank, in which pivots that may be rounding count as 0."""
    diagonal = sigma.diagonal().numpy()
    largest = max(diagonal.max(), 0.0)
    # A few times d^½ eps is seen of float64, and some times that after rotations. Other types are rounded from more.
    d = len(diagonal)
    tolerance = largest * eps * (max(d, 64) if eps == torch.finfo(torch.float64).eps else d**0.5)
    lower = np.tril(sigma.numpy())
    rows = torch.from_numpy(_pivoted_cholesky(lower, tolerance))
    residual = np.abs(lower - np.tril((rows @ rows.mT).numpy())).max()
    if diagonal.min() < 0 or residual > largest * eps**0.5:
        raise ValueError(
            f"{name}: {argument} must be positive semi-definite, got a matrix with diagonal elements of "
            f"{diagonal.min():.3g} to {largest:.3g} that differs by {residual:.3g} from the one its pivots give"
        )
    dropped = diagonal - rows.square().sum(1).numpy()
    return Factor(rows, False, float(dropped[dropped > tolerance].sum()))


def _pivoted_cholesky(lower: np.ndarray, tolerance: float) -> np.ndarray:
    """[d, rank] from the lower triangle of a matrix, as far as pivots exceed the tolerance."""
    try:
        from scipy.linalg.lapack import dpstrf
    except ImportError:  # eigenvectors, ten times as slow
        eigenvalues, vectors = np.linalg.eigh(lower)
        kept = eigenvalues > tolerance
        return vectors[:, kept] * np.sqrt(eigenvalues[kept])
    factor, pivots, rank, _ = dpstrf(np.asfortranarray(lower), tol=tolerance, lower=1, overwrite_a=1)
    rows = np.empty((len(lower), rank))
    rows[pivots - 1] = np.tril(factor)[:, :rank]
    return rows
