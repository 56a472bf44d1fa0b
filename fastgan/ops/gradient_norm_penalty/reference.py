"""gradient_norm_penalty in plain torch: fallback and oracle."""

from __future__ import annotations

import torch
from torch import Tensor

from fastgan.ops.samples import along, widened

__all__ = [
    "gradient_norm_penalty",
    "gradient_norm_penalty_backward",
    "gradient_norm_penalty_double_backward",
    "unsupported_reason",
]


def unsupported_reason(device_type: str, dtype: torch.dtype) -> str | None:
    return None


def _sum_over_samples(x: Tensor) -> Tensor:
    """[N, ...] to [N]."""
    return x[..., None].flatten(1).sum(1)


def _norms(x: Tensor) -> tuple[Tensor, Tensor]:
    """The samples' norms, with 1 for 0, and which are 0: what is divided by a norm is to be masked there."""
    squares = _sum_over_samples(x.square())
    zero = squares == 0
    return squares.masked_fill(zero, 1.0).sqrt(), zero


def _beyond(norm: Tensor, zero: Tensor, center: float, one_sided: bool) -> Tensor:
    """How far the norms are from the center, or above it."""
    difference = norm.masked_fill(zero, 0.0) - center
    return difference.relu() if one_sided else difference


def gradient_norm_penalty(
    gradient: Tensor, weight: float, center: float | None, one_sided: bool
) -> tuple[Tensor, Tensor]:
    x = widened(gradient)
    if center is None:
        squares = _sum_over_samples(x.square())
        return weight * squares.sum(), torch.full_like(squares, 2 * weight)
    norm, zero = _norms(x)
    beyond = _beyond(norm, zero, center, one_sided)
    scale = (2 * weight * beyond.detach() / norm.detach()).masked_fill(zero, 0.0)
    return weight * beyond.square().sum(), scale


def gradient_norm_penalty_backward(
    gradient: Tensor,
    scale: Tensor,
    grad_output: Tensor,
    weight: float,
    center: float | None,
    one_sided: bool,
) -> Tensor:
    return torch.empty_like(gradient).copy_(along(grad_output * scale, gradient) * widened(gradient))


def gradient_norm_penalty_double_backward(
    grad_grad: Tensor,
    gradient: Tensor,
    grad_output: Tensor,
    weight: float,
    center: float | None,
    one_sided: bool,
) -> tuple[Tensor, Tensor]:
    """The derivatives of the backward with respect to the gradient and to grad_output; differentiable to any order."""
    x, h = widened(gradient), widened(grad_grad)
    dot = _sum_over_samples(x * h)
    if center is None:
        return (2 * weight * grad_output * h).to(gradient.dtype), 2 * weight * dot.sum()
    norm, zero = _norms(x)
    beyond = _beyond(norm, zero, center, one_sided)
    scale = (2 * weight * beyond / norm).masked_fill(zero, 0.0)
    # Along the gradient the penalty bends as a square does, across it as the scale says: 1 less what the center takes.
    unit = x / along(norm, x)
    across = h - along(dot / norm, x) * unit
    grad = 2 * weight * (h - along(center / norm, x) * across)
    flat = zero | (norm <= center) if one_sided else zero
    grad = grad.masked_fill(along(flat, x), 0.0)
    return (grad_output * grad).to(gradient.dtype), (scale * dot).sum()
