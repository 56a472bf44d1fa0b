"""spectral_conv in plain torch: the layer on the weight divided by sigma, written out.

:func:`spectral_conv` alone is differentiable to any order: it takes sigma from u and v.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from fastgan.ops.layout import match_layout
from fastgan.ops.spectral_conv.layer import Geometry, layer, layer_backward
from fastgan.ops.spectral_norm import reference as norm
from fastgan.ops.spectral_norm.matrix import as_matrix

__all__ = ["spectral_conv", "spectral_conv_backward", "unsupported_reason"]


def unsupported_reason(device_type: str, dtype: torch.dtype) -> str | None:
    return None


def spectral_conv(
    input: Tensor, weight: Tensor, bias: Tensor | None, sigma: Tensor, u: Tensor, v: Tensor, dim: int, *rest: Any
) -> Tensor:
    *geometry, _algorithm = rest
    wide = norm.accumulator(weight.dtype)
    sigma = torch.dot(u.to(wide), as_matrix(weight, dim).to(wide) @ v.to(wide))
    return layer(input, (weight.to(wide) / sigma).to(weight.dtype), bias, Geometry(*geometry))


def spectral_conv_backward(
    grad_output: Tensor, input: Tensor, weight: Tensor, sigma: Tensor, u: Tensor, v: Tensor, dim: int, *rest: Any
) -> tuple[Tensor, Tensor, Tensor]:
    *geometry, _algorithm, wanted = rest
    normalized = (weight.to(sigma.dtype) / sigma).to(weight.dtype)
    grads = layer_backward(grad_output, input, normalized, Geometry(*geometry), wanted)
    grad_input, grad_weight, grad_bias = (weight.new_empty(0) if grad is None else grad for grad in grads)
    if wanted[1]:
        (corrected,) = norm.spectral_norm_backward([grad_weight], [weight], [sigma], [u], [v], [dim])
        grad_weight = match_layout(corrected, grad_weight)
    return grad_input, grad_weight, grad_bias
