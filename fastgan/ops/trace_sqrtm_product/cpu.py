"""trace_sqrtm_product on the CPU, in float64: Cholesky factors, triangular products and one triangle of the result."""

from __future__ import annotations

import torch
from torch import Tensor

from fastgan.ops.psd_factor import Factor, factors
from fastgan.ops.singular_sums import of_factors
from fastgan.ops.trace_sqrtm_product import reference

__all__ = ["trace_sqrtm_product", "trace_sqrtm_product_backward", "unsupported_reason"]

_NAME = "trace_sqrtm_product"


def unsupported_reason(device_type: str, dtype: torch.dtype) -> str | None:
    return None if device_type == "cpu" else f"serves CPU tensors, not {device_type}"


def trace_sqrtm_product(
    sigma1: Tensor, sigma2: Tensor, factor1: Tensor | None, rtol: float | None
) -> tuple[Tensor, Tensor]:
    batch, d, _ = sigma1.shape
    if batch == 0 or d == 0:
        return sigma1.new_zeros(batch), sigma1.new_zeros(batch)
    if factor1 is None:
        first = factors(_NAME, "sigma1", sigma1)
    else:
        first = [Factor(a, a.shape[0] == a.shape[1], 0.0) for a in factor1.double()]
    second = factors(_NAME, "sigma2", sigma2)
    sums = [of_factors(a, b, rtol) for a, b in zip(first, second, strict=True)]
    trace, error = (torch.stack(part).to(sigma1.dtype) for part in zip(*sums, strict=True))
    return trace, error


def trace_sqrtm_product_backward(grad_trace: Tensor, sigma1: Tensor, sigma2: Tensor) -> tuple[Tensor, Tensor]:
    for argument, sigma in (("sigma1", sigma1), ("sigma2", sigma2)):
        for factor in factors(_NAME, argument, sigma):
            if not factor.triangular:
                d, rank = factor.matrix.shape
                raise ValueError(
                    f"{_NAME}: {argument} must have full rank for a derivative, which is infinite otherwise, got rank "
                    f"{rank} of {d}; differentiate frechet_distance_from_features"
                )
    return reference.trace_sqrtm_product_backward(grad_trace, sigma1, sigma2)
