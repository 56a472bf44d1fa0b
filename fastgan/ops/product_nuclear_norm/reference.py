"""product_nuclear_norm in plain torch, in float64: fallback and oracle."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["polar", "product_nuclear_norm", "product_nuclear_norm_backward", "unsupported_reason"]

_EPS = torch.finfo(torch.float64).eps


def unsupported_reason(device_type: str, dtype: torch.dtype) -> str | None:
    return None


def _triangle(x: Tensor) -> Tensor:
    """A matrix of no more rows than columns with the same ``xᵀ x``."""
    return torch.linalg.qr(x, mode="reduced").R if x.shape[1] > x.shape[2] else x


def product_nuclear_norm(x: Tensor, y: Tensor, rtol: float | None) -> tuple[Tensor, Tensor]:
    values = torch.linalg.svdvals(_triangle(x.double()) @ _triangle(y.double()).mT)
    norm = values.sum(-1)
    # As far as rounding may move the singular values, all of them to the same side.
    error = norm.detach().new_zeros(norm.shape) if values.shape[1] == 0 else values.detach()[:, 0]
    return norm.to(x.dtype), (error * (values.shape[1] * _EPS)).to(x.dtype)


def polar(matrix: Tensor) -> Tensor:
    """The partial isometry of the polar decomposition: U Vᵀ over the singular values that are beyond rounding."""
    u, values, vh = torch.linalg.svd(matrix, full_matrices=False)
    if values.shape[1] == 0:
        return u @ vh
    kept = values > values[:, :1] * (max(matrix.shape[1:]) * _EPS)
    return u * kept[:, None] @ vh


def product_nuclear_norm_backward(grad_norm: Tensor, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    (qx, rx), (qy, ry) = (
        torch.linalg.qr(z.double()) if z.shape[1] > z.shape[2] else (None, z.double()) for z in (x, y)
    )
    # With x = qx rx and y = qy ry the polar factor of x yᵀ is qx Q qyᵀ, and qyᵀ y = ry.
    q = polar(rx @ ry.mT) * grad_norm.double()[:, None, None]
    grad_x, grad_y = q @ ry, q.mT @ rx
    grad_x, grad_y = (g if outer is None else outer @ g for outer, g in ((qx, grad_x), (qy, grad_y)))
    return grad_x.to(x.dtype), grad_y.to(y.dtype)
