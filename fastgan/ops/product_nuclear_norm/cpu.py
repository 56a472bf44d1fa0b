"""product_nuclear_norm on the CPU, in float64: by the smaller of the samples' and the features' matrices."""

from __future__ import annotations

import torch
from torch import Tensor

from fastgan.ops.product_nuclear_norm.reference import product_nuclear_norm_backward
from fastgan.ops.psd_factor import Factor, factors
from fastgan.ops.singular_sums import of_factors, of_matrices
from fastgan.ops.triangular import gram

__all__ = ["product_nuclear_norm", "product_nuclear_norm_backward", "unsupported_reason"]


def unsupported_reason(device_type: str, dtype: torch.dtype) -> str | None:
    return None if device_type == "cpu" else f"serves CPU tensors, not {device_type}"


def _norms(x: Tensor) -> Tensor:
    return torch.linalg.vector_norm(x, dim=(1, 2))


def _factor(argument: str, x: Tensor) -> Factor:
    """A factor of ``xᵀ x``."""
    if len(x) > x.shape[1]:
        return factors("product_nuclear_norm", argument, gram(x)[None])[0]
    return Factor(x.mT, False, 0.0)


def product_nuclear_norm(x: Tensor, y: Tensor, rtol: float | None) -> tuple[Tensor, Tensor]:
    dtype, d = x.dtype, x.shape[2]
    x, y = x.double(), y.double()
    if len(x) == 0 or max(x.shape[1], y.shape[1]) <= d:
        norm, error = of_matrices(x @ y.mT, lambda: _norms(x) * _norms(y), rtol)
    else:
        sums = [of_factors(_factor("x", u), _factor("y", v), rtol) for u, v in zip(x, y, strict=True)]
        norm, error = (torch.stack(part) for part in zip(*sums, strict=True))
    return norm.to(dtype), error.to(dtype)
