"""spectral_norm in plain torch: the fallback on every device, and the oracle the kernels are compared with.

:func:`spectral_norm` alone is differentiable to any order; u and v are constants in it, as in torch. The functions
after it are the formulas the kernels implement.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from fastgan.ops.layout import accumulator
from fastgan.ops.spectral_norm.matrix import as_matrix, from_matrix

__all__ = ["spectral_norm", "spectral_norm_backward", "spectral_norm_double_backward", "unsupported_reason"]


def unsupported_reason(device_type: str, dtype: torch.dtype) -> str | None:
    return None


def _normalize(x: Tensor, eps: float) -> tuple[Tensor, Tensor]:
    """`x` over its norm, which counts as `eps` where it is less, and the product of the two."""
    norm = torch.linalg.vector_norm(x)
    unit = x / norm.clamp_min(eps)
    return unit, norm * norm / norm.clamp_min(eps)


def _iterate(
    matrix: Tensor, u: Tensor, v: Tensor, n_power_iterations: int, eps: float, v_first: bool
) -> tuple[Tensor, Tensor]:
    for _ in range(n_power_iterations):
        if v_first:
            v, _ = _normalize(matrix.mT @ u, eps)
            u, _ = _normalize(matrix @ v, eps)
        else:
            u, _ = _normalize(matrix @ v, eps)
            v, _ = _normalize(matrix.mT @ u, eps)
    return u, v


def spectral_norm(
    weights: list[Tensor],
    us: list[Tensor],
    vs: list[Tensor],
    dims: list[int],
    materialize: list[bool],
    n_power_iterations: int,
    eps: float,
    v_first: bool,
) -> tuple[list[Tensor], list[Tensor], list[Tensor], list[Tensor]]:
    outputs, sigmas, new_us, new_vs = [], [], [], []
    for weight, u, v, dim, wanted in zip(weights, us, vs, dims, materialize, strict=True):
        wide = accumulator(weight.dtype)
        matrix = as_matrix(weight, dim).to(wide)
        with torch.no_grad():
            new_u, new_v = _iterate(matrix, u.to(wide), v.to(wide), n_power_iterations, eps, v_first)
        sigma = torch.dot(new_u, matrix @ new_v)
        if wanted:
            outputs.append(torch.empty_like(weight).copy_(from_matrix(matrix / sigma, weight, dim)))
        else:
            outputs.append(weight.new_empty(0))
        sigmas.append(sigma)
        # Never an input itself, not even after no iteration.
        new_us.append(torch.empty_like(u, memory_format=torch.contiguous_format).copy_(new_u))
        new_vs.append(torch.empty_like(v, memory_format=torch.contiguous_format).copy_(new_v))
    return outputs, sigmas, new_us, new_vs


class _Layer(NamedTuple):
    """One layer's operands as matrices of the computation's dtype; `outer` is E = u vᵀ."""

    weight: Tensor
    sigma: Tensor
    outer: Tensor


def _layer(weight: Tensor, sigma: Tensor, u: Tensor, v: Tensor, dim: int) -> _Layer:
    wide = sigma.dtype
    return _Layer(as_matrix(weight, dim).to(wide), sigma, torch.outer(u.to(wide), v.to(wide)))


def spectral_norm_backward(
    grad_outputs: list[Tensor],
    weights: list[Tensor],
    sigmas: list[Tensor],
    us: list[Tensor],
    vs: list[Tensor],
    dims: list[int],
) -> list[Tensor]:
    grads = []
    for grad_output, *operands, dim in zip(grad_outputs, weights, sigmas, us, vs, dims, strict=True):
        weight, sigma, u, v = operands
        layer = _layer(weight, sigma, u, v, dim)
        g = as_matrix(grad_output, dim).to(layer.weight.dtype)
        along = (g * layer.weight).sum() / layer.sigma
        grad = (g - along * layer.outer) / layer.sigma
        grads.append(torch.empty_like(weight).copy_(from_matrix(grad, weight, dim)))
    return grads


def spectral_norm_double_backward(
    grad_grad_weights: list[Tensor],
    grad_outputs: list[Tensor],
    weights: list[Tensor],
    sigmas: list[Tensor],
    us: list[Tensor],
    vs: list[Tensor],
    dims: list[int],
) -> tuple[list[Tensor], list[Tensor]]:
    grad_grads, grads = [], []
    for grad_grad, grad_output, *operands, dim in zip(
        grad_grad_weights, grad_outputs, weights, sigmas, us, vs, dims, strict=True
    ):
        weight, sigma, u, v = operands
        w, sigma, outer = _layer(weight, sigma, u, v, dim)
        h, g = (as_matrix(x, dim).to(w.dtype) for x in (grad_grad, grad_output))
        h_outer, h_g, g_w = (h * outer).sum(), (h * g).sum(), (g * w).sum()
        grad_grad_output = h / sigma - (h_outer / sigma**2) * w
        grad = (2 * g_w * h_outer / sigma**3 - h_g / sigma**2) * outer - (h_outer / sigma**2) * g
        grad_grads.append(torch.empty_like(weight).copy_(from_matrix(grad_grad_output, weight, dim)))
        grads.append(torch.empty_like(weight).copy_(from_matrix(grad, weight, dim)))
    return grad_grads, grads
