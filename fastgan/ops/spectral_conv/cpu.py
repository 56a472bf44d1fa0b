"""spectral_conv on the CPU: torch's convolution of input / sigma, and the weight's gradient corrected where it lies.

⟨G, Ŵ⟩, which the correction needs, equals ⟨input, its gradient⟩: a sum over activations instead of another pass over
the weight and its gradient.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from fastgan.ops import native
from fastgan.ops.layout import channel_extents, dense, match_layout
from fastgan.ops.spectral_conv.layer import Geometry, layer, layer_backward
from fastgan.ops.spectral_norm import cpu as norm
from fastgan.ops.spectral_norm.cpu import unsupported_reason
from fastgan.ops.spectral_norm.matrix import columns_in_memory

__all__ = ["spectral_conv", "spectral_conv_backward", "unsupported_reason"]


def spectral_conv(
    input: Tensor, weight: Tensor, bias: Tensor | None, sigma: Tensor, u: Tensor, v: Tensor, dim: int, *geometry: Any
) -> Tensor:
    return layer(input / sigma, weight, bias, Geometry(*geometry))


def spectral_conv_backward(
    grad_output: Tensor, input: Tensor, weight: Tensor, sigma: Tensor, u: Tensor, v: Tensor, dim: int, *rest: Any
) -> tuple[Tensor, Tensor, Tensor]:
    *geometry, wanted = rest
    grads = layer_backward(grad_output, input, weight, Geometry(*geometry), wanted)
    grad_input, grad_weight, grad_bias = (weight.new_empty(0) if grad is None else grad for grad in grads)
    if not wanted[0]:
        if wanted[1]:  # ⟨G, Ŵ⟩ costs a pass over both
            (corrected,) = norm.spectral_norm_backward([grad_weight], [weight], [sigma], [u], [v], [dim])
            grad_weight = match_layout(corrected, grad_weight)
        return grad_input, grad_weight, grad_bias
    extension, threads, dtype = native.extension(), torch.get_num_threads(), native.DTYPE_CODES[weight.dtype]
    grad_input = dense(grad_input)
    input = match_layout(input, grad_input)
    along = extension.spectral_norm_input_gradient(
        dtype, threads, input.numel(), input.data_ptr(), grad_input.data_ptr(), sigma.data_ptr()
    )
    if wanted[1]:
        grad_weight = dense(grad_weight)
        u, v = u.contiguous(), columns_in_memory(v, grad_weight, dim)
        extension.spectral_norm_weight_gradient(
            dtype, threads, *channel_extents(grad_weight, dim),
            *(tensor.data_ptr() for tensor in (grad_weight, sigma, u, v)), along,
        )  # fmt: skip
    return grad_input, grad_weight, grad_bias
