"""Random covariances for the samples of ops on them."""

from __future__ import annotations

import torch
from torch import Tensor

from tests.samples.sample import laid_out

__all__ = ["covariances"]


def covariances(shape: tuple[int, ...], layout: str, generator: torch.Generator) -> Tensor:
    """Well-conditioned symmetric positive definite matrices of distinct eigenvalues in the memory layout."""

    def normal(*size: int) -> Tensor:
        return torch.randn(size, generator=generator, dtype=torch.float64)

    matrix = laid_out(shape, layout, normal)
    n = shape[-1]
    spread = torch.diag_embed(torch.arange(1.0, n + 1, dtype=torch.float64))
    values = normal(*(1 if stride == 0 else size for size, stride in zip(shape, matrix.stride(), strict=True)))
    values = values @ values.mT / (4 * max(n, 1)) + spread
    if layout == "expanded":
        matrix[0].copy_(values[0])
    else:
        matrix.copy_(values)
    return matrix
