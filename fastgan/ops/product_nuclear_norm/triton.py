"""product_nuclear_norm on GPUs by polar factors in Triton: products of matrices and Cholesky factors alone.

The product is made in float64, its polar factor in the input's type. Where there are more samples than features the
Gram matrices are factored, of any rank: what is added to the diagonal of their correlations, so that there is a
Cholesky factor, changes the sum by less than the root of the rounding that it covers. Derivatives are by singular
vectors.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from fastgan.ops.polar_factor.triton import polar_factor
from fastgan.ops.product_nuclear_norm import reference
from fastgan.ops.product_nuclear_norm.reference import product_nuclear_norm_backward
from fastgan.ops.triton_support import unsupported_reason

__all__ = ["product_nuclear_norm", "product_nuclear_norm_backward", "unsupported_reason"]

#: Steps, and what they reach relative to the product of the Frobenius norms.
_STEPS = {torch.float32: 10, torch.float64: 24}
_ACCURACY = {torch.float32: 1e-5, torch.float64: 1e-10}


def _triangle(gram: Tensor) -> Tensor:
    """Upper triangles R of positive semi-definite [B, d, d]: Rᵀ R is the Gram matrix."""
    added = 4 * gram.shape[-1] * torch.finfo(torch.float64).eps
    lengths = gram.diagonal(dim1=1, dim2=2).clamp_min(0).sqrt()
    inverse = lengths.reciprocal().masked_fill(lengths == 0, 0.0)
    correlations = gram * inverse[:, :, None] * inverse[:, None]
    correlations.diagonal(dim1=1, dim2=2).fill_(1 + added)
    return (torch.linalg.cholesky_ex(correlations).L * lengths[..., None]).mT


def product_nuclear_norm(x: Tensor, y: Tensor, rtol: float | None) -> tuple[Tensor, Tensor]:
    dtype, features = x.dtype, x.shape[2]
    by_samples = max(x.shape[1], y.shape[1]) <= features
    # Roots of what is added to the diagonals are all that is known of the smallest singular values.
    accuracy = max(_ACCURACY[dtype], 0.0 if by_samples else 4 * (features * torch.finfo(torch.float64).eps) ** 0.5)
    empty = x.numel() == 0 or y.numel() == 0
    if empty or (accuracy > _ACCURACY[dtype] if rtol is None else accuracy > rtol):
        return reference.product_nuclear_norm(x, y, rtol)
    x, y = x.double(), y.double()
    if not by_samples:
        x, y = (_triangle(z.mT @ z) for z in (x, y))
    product = (x @ y.mT).to(dtype)
    rows, columns = product.shape[1:]
    square = F.pad(product, (0, max(rows - columns, 0), 0, max(columns - rows, 0)))
    _, norms, residuals = polar_factor(square, _STEPS[dtype])
    sizes = [torch.linalg.vector_norm(each, dim=(1, 2)).to(dtype) for each in (x, y)]
    return norms, 3 * residuals + accuracy / 2 * sizes[0] * sizes[1]
