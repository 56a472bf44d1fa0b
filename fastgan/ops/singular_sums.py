"""Sums of singular values on the CPU: by the eigenvalues of the Gram matrix where they will do."""

from __future__ import annotations

from collections.abc import Callable

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


def of_matrices(matrix: Tensor, scale: Callable[[], Tensor], rtol: float | None) -> tuple[Tensor, Tensor]:
    """The sum of the singular values of each matrix [B, m, n] and its error, which is to be small beside `scale`."""
    if matrix.numel() == 0:
        return matrix.new_zeros(len(matrix)), matrix.new_zeros(len(matrix))
    tall = matrix if matrix.shape[1] >= matrix.shape[2] else matrix.mT
    sums, errors = _by_eigenvalues(tall.mT @ tall)
    poor = (errors > accuracy(rtol) * sums).numpy().nonzero()[0]
    if len(poor):  # the sums are no larger than the scales, which take a pass over all the data
        poor = (errors > accuracy(rtol) * scale()).numpy().nonzero()[0]
    if len(poor):
        sums[poor], errors[poor] = _by_singular_values(matrix[poor])
    return sums, errors


def of_factors(a: Factor, b: Factor, rtol: float | None) -> tuple[Tensor, Tensor]:
    """The sum of the singular values of ``aᵀ b`` and an estimate of its error."""
    norms = [torch.linalg.vector_norm(factor.matrix) for factor in (a, b)]
    if not (a.triangular and b.triangular):
        total, error = (x[0] for x in _by_singular_values((a.matrix.mT @ b.matrix)[None]))
        # The nuclear norm of a product is at most that of the factors' Frobenius norms.
        dropped = a.dropped**0.5 * norms[1] + b.dropped**0.5 * norms[0]
        return total, error + dropped
    product = transposed_product(a.matrix, b.matrix)
    k = gram(product)
    of_eigenvalues, of_rounding = _graded_errors(k, a.matrix, b.matrix)
    if (of_eigenvalues <= accuracy(rtol) * norms[0] * norms[1]).numpy():
        total, error = _by_eigenvalues(k[None])[0][0], of_eigenvalues
    else:
        total, error = (x[0] for x in _by_singular_values(product[None]))
    return total, error + of_rounding


def _graded_errors(k: Tensor, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """What rounding does to the sum by way of the eigenvalues of K, the Gram matrix of ``aᵀ b``, and of the factors.

    Cholesky factors are graded, large columns first, and so is K. Small eigenvalues are then much better than eps times
    the largest: rounding changes K by E with ``|E_jk| < eps (K_jj K_kk)^½``, and the sum by ½ tr (E K^-½), less than
    ½ eps Σ K_jj ((K⁻¹)_jj)^½ but for a small factor. It changes Σ₁ = a aᵀ in the same proportions, and the sum by less
    than ½ eps Σ (Σ₁)_jj ((Σ₂)_jj (Σ₁⁻¹)_jj)^½; so for Σ₂. Random probes estimate the diagonals of inverses.
    """

    def solved(lower: Tensor, right: Tensor, transposed: bool) -> Tensor:
        return torch.linalg.solve_triangular(lower.mT if transposed else lower, right, upper=transposed)

    def root_of_diagonal(probed: Tensor) -> Tensor:
        return torch.linalg.vector_norm(probed, dim=1) / _PROBES**0.5

    generator = torch.Generator().manual_seed(0)
    probes = torch.randn(len(k), _PROBES, dtype=k.dtype, generator=generator)
    of_a, of_b = (solved(factor, probes, True) for factor in (a, b))
    of_k = solved(b, of_a, False)
    deviations = [torch.linalg.vector_norm(factor, dim=1) for factor in (a, b)]
    both = deviations[0] * deviations[1]
    of_factors = both * (deviations[0] * root_of_diagonal(of_a) + deviations[1] * root_of_diagonal(of_b))
    return 5 * _EPS * (k.diagonal() * root_of_diagonal(of_k)).sum(), 2 * _EPS * of_factors.sum()
