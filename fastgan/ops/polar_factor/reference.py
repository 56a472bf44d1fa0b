"""polar_factor in plain torch: fallback and oracle."""

from __future__ import annotations

import torch
from torch import Tensor

from fastgan.ops.layout import accumulator
from fastgan.ops.polar_factor.quintics import quintics

__all__ = ["iterate", "normalized", "polar_factor", "rescaled", "unsupported_reason"]


def unsupported_reason(device_type: str, dtype: torch.dtype) -> str | None:
    return None


def normalized(matrix: Tensor) -> Tensor:
    """The matrices in the type that is computed in, divided by their largest magnitude, unless they are zero."""
    wide = matrix.to(accumulator(matrix.dtype))
    largest = torch.linalg.vector_norm(wide.detach(), torch.inf, (-2, -1), keepdim=True)
    return wide / largest.clamp_min(torch.finfo(wide.dtype).tiny)


def rescaled(x: Tensor, gram: Tensor) -> tuple[Tensor, Tensor]:
    """Normalised X and X'X with no singular value of X above 1: none exceeds (Σ σ⁴)^¼, the root of X'X's norm."""
    # That is 1 at least, as X's largest magnitude is, unless X is zero.
    bound = torch.linalg.vector_norm(gram.detach(), dim=(-2, -1), keepdim=True).sqrt().clamp_min(1)
    return x / bound, gram / bound**2


def iterate(matrix: Tensor, steps: int) -> Tensor:
    """The polar factor in the type that is computed in, as a composition that autograd differentiates."""
    if matrix.numel() == 0:
        return matrix.to(accumulator(matrix.dtype))
    x = normalized(matrix)
    gram = x.mT @ x
    x, gram = rescaled(x, gram)
    _, chosen = quintics(steps, x.dtype)
    for a, b, c in chosen:
        x = a * x + x @ (b * gram + c * (gram @ gram))
        gram = x.mT @ x
    return x


def polar_factor(matrix: Tensor, steps: int) -> tuple[Tensor, Tensor, Tensor]:
    polar = iterate(matrix, steps)
    wide = matrix.to(polar.dtype)
    nuclear_norm = (polar * wide).sum((-2, -1))
    residual = ((polar - polar @ (polar.mT @ polar)) * wide).sum((-2, -1)).abs()
    return polar.detach().to(matrix.dtype), nuclear_norm, residual.detach()
