"""trace_sqrtm_product in plain torch, in float64, by the eigenvectors of both matrices: fallback and oracle."""

from __future__ import annotations

import torch
from torch import Tensor

from fastgan.ops.matrices import symmetrized
from fastgan.ops.product_nuclear_norm.reference import polar, product_nuclear_norm
from fastgan.ops.sqrtm_psd.reference import roots

__all__ = ["trace_sqrtm_product", "trace_sqrtm_product_backward", "unsupported_reason"]


def unsupported_reason(device_type: str, dtype: torch.dtype) -> str | None:
    return None


def _factor(sigma: Tensor) -> tuple[Tensor, Tensor]:
    """Eigenvectors, and the roots of the eigenvalues, 0 for those that the rounding of `sigma` may have made."""
    eigenvalues, vectors = torch.linalg.eigh(symmetrized(sigma.double()))
    return vectors, roots(eigenvalues, torch.finfo(sigma.dtype).eps)


def trace_sqrtm_product(
    sigma1: Tensor, sigma2: Tensor, factor1: Tensor | None, rtol: float | None
) -> tuple[Tensor, Tensor]:
    a, b = (v * r[:, None] for v, r in map(_factor, (sigma1, sigma2)))
    if factor1 is not None:
        a = factor1.double()
    trace, error = product_nuclear_norm(a.mT, b.mT, rtol)
    return trace.to(sigma1.dtype), error.to(sigma1.dtype)


def trace_sqrtm_product_backward(grad_trace: Tensor, sigma1: Tensor, sigma2: Tensor) -> tuple[Tensor, Tensor]:
    (v1, r1), (v2, r2) = _factor(sigma1), _factor(sigma2)
    # With A = V₁ R₁ and B = V₂ R₂: ½ B Qᵀ A⁻¹ and ½ A Q B⁻¹, both symmetric.
    q = polar((v1 * r1[:, None]).mT @ (v2 * r2[:, None])) * (grad_trace.double() / 2)[:, None, None]
    grad1 = (v2 * r2[:, None]) @ q.mT @ (v1 / r1[:, None]).mT
    grad2 = (v1 * r1[:, None]) @ q @ (v2 / r2[:, None]).mT
    return symmetrized(grad1).to(sigma1.dtype), symmetrized(grad2).to(sigma1.dtype)
