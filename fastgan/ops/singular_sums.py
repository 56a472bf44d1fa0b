"""Sums of singular values on the CPU: by the eigenvalues of the Gram matrix where they will do."""

from __future__ import annotations

import torch
from torch import Tensor

from fastgan.ops.psd_factor import Factor
from fastgan.ops.symmetric_eigh import symmetric_eigh
from fastgan.ops.triangular import gram, transposed_product

__all__ = ["accuracy", "of_factors", "of_matrices"]

_EPS, _TINY = torch.finfo(torch.float64).eps, torch.finfo(torch.float64).tiny
_PROBES = 8


def accuracy(rtol: float | None) -> float:
    """The error, relative to the factors' Frobenius norms, beyond which eigenvalues will not do.

    They take half the time of singular values, and as squares they lose half of the digits of the small ones.
    """
    return 1e-10 if rtol is None else min(rtol, 1e-10)


def _by_singular_values(matrix: Tensor) -> tuple[Tensor, Tensor]:
    """The sum of the singular values of each matrix [B, m, n] and its error."""
    values = torch.linalg.svdvals(matrix)
    largest = values[:, 0] if values.shape[1] else values.new_zeros(len(values))
    return values.sum(-1), largest * (values.shape[1] * _EPS)


def _by_eigenvalues(gram: Tensor) -> tuple[Tensor, Tensor]:
    """The sum of the roots of the eigenvalues of each symmetric matrix [B, n, n], and the most that it can be off."""
    eigenvalues = symmetric_eigh(gram, False, None)[0].clamp_min_(0)
    roots = eigenvalues.sqrt()
    # An eigenvalue is off by eps times the largest, or two; where it is smaller, its root by the root of that.
    off = eigenvalues[:, -1:] * (2 * _EPS)
    return roots.sum(-1), (off / (roots + off.sqrt()).clamp_min(_TINY)).sum(-1)


def of_matrices(matrix: Tensor, scale: Tensor, rtol: float | None) -> tuple[Tensor, Tensor]:
    """The sum of the singular values of each matrix [B, m, n] and its error, which is to be small beside `scale`."""
    if matrix.numel() == 0:
        return matrix.new_zeros(len(matrix)), matrix.new_zeros(len(matrix))
    tall = matrix if matrix.shape[1] >= matrix.shape[2] else matrix.mT
    sums, errors = _by_eigenvalues(tall.mT @ tall)
    poor = (errors > accuracy(rtol) * scale).numpy().nonzero()[0]
    if len(poor):
        sums[poor], errors[poor] = _by_singular_values(matrix[poor])
    return sums, errors


def of_factors(a: Factor, b: Factor, rtol: float | None) -> tuple[Tensor, Tensor]:
    """The sum of the singular values of ``aᵀ b`` and its error."""
    norms = [torch.linalg.vector_norm(factor.matrix) for factor in (a, b)]
    if a.triangular and b.triangular:
        product = transposed_product(a.matrix, b.matrix)
        total, error = _by_graded_eigenvalues(product, a.matrix, b.matrix)
        if (error <= accuracy(rtol) * norms[0] * norms[1]).numpy():
            return total, error
    else:
        product = a.matrix.mT @ b.matrix
    total, error = (x[0] for x in _by_singular_values(product[None]))
    # The nuclear norm of a product is at most that of the factors' Frobenius norms.
    dropped = a.dropped**0.5 * norms[1] + b.dropped**0.5 * norms[0]
    return total, error + dropped


def _by_graded_eigenvalues(product: Tensor, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """The sum by the Gram matrix K of ``aᵀ b``, and an estimate of its error.

    Cholesky factors are graded, large columns first, and so is K. Small eigenvalues are then much better than eps times
    the largest: rounding changes K by E with ``|E_jk| < eps (K_jj K_kk)^½``, and the sum by ½ tr (E K^-½), less than
    ½ eps Σ K_jj ((K⁻¹)_jj)^½ but for a small factor. The diagonal of K⁻¹ is estimated by random probes.
    """
    k = gram(product)
    total, _ = _by_eigenvalues(k[None])
    probes = torch.randn(len(k), _PROBES, dtype=k.dtype, generator=torch.Generator().manual_seed(0))
    solved = torch.linalg.solve_triangular(a.mT, probes, upper=True)
    solved = torch.linalg.solve_triangular(b, solved, upper=False)
    return total[0], (k.diagonal() * solved.square().mean(1).sqrt()).sum() * (5 * _EPS)
