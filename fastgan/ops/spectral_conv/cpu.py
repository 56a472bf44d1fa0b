"""spectral_conv on the CPU: the convolution, and the weight's gradient corrected where it lies.

Winograd's algorithm, where it is faster, divides the weight by sigma as it transforms it; torch's gets input / sigma.
⟨G, Ŵ⟩, which the correction needs, equals ⟨input, its gradient⟩: a sum over activations instead of another pass over
the weight and its gradient.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from fastgan.ops import native
from fastgan.ops.conv2d import winograd
from fastgan.ops.conv2d.choice import takes_winograd
from fastgan.ops.conv2d.cpu import conv2d_backward
from fastgan.ops.layout import channel_extents, dense, is_image, match_layout
from fastgan.ops.resampling import output_format
from fastgan.ops.spectral_conv.layer import Geometry, layer, layer_backward
from fastgan.ops.spectral_norm import cpu as norm
from fastgan.ops.spectral_norm.cpu import unsupported_reason
from fastgan.ops.spectral_norm.matrix import columns_in_memory

__all__ = ["spectral_conv", "spectral_conv_backward", "unsupported_reason"]


def _served(input: Tensor, weight: Tensor, geometry: Geometry) -> bool:
    """Whether conv2d's op could be the layer."""
    return (
        geometry._replace(padding=[]) == ([1, 1], [], [1, 1], False, [0, 0], 1)
        and list(weight.shape[2:]) == [3, 3]
        and all(0 <= p <= 2 and s + 2 * p >= 3 for s, p in zip(input.shape[2:], geometry.padding, strict=True))
        and all(is_image(x) for x in (input, weight))
    )


def spectral_conv(
    input: Tensor, weight: Tensor, bias: Tensor | None, sigma: Tensor, u: Tensor, v: Tensor, dim: int, *rest: Any
) -> Tensor:
    *arguments, algorithm = rest
    geometry = Geometry(*arguments)
    padding = geometry.padding
    if _served(input, weight, geometry) and takes_winograd(algorithm, "forward", input, weight, padding):
        done = winograd.convolution(input, weight, padding, bias=bias, divisor=sigma)
        if done is not None:
            return done[0].contiguous(memory_format=output_format(input, weight))
    return layer(input / sigma, weight, bias, geometry)


def _layer_backward(
    grad_output: Tensor, input: Tensor, weight: Tensor, geometry: Geometry, algorithm: str, wanted: list[bool]
) -> Sequence[Tensor | None]:
    """Gradients of input, weight and bias of the layer with the weight as it is."""
    if input.numel() == 0 or not _served(input, weight, geometry):
        return layer_backward(grad_output, input, weight, geometry, wanted)
    grads = conv2d_backward(grad_output, input, weight, None, "linear", 0.0, geometry.padding, algorithm, wanted[:2])
    layout = output_format(input, weight)  # which torch's convolution gives both, as does the fake kernel
    of_input, of_weight = (
        x.contiguous(memory_format=layout) if want else None for x, want in zip(grads, wanted, strict=False)
    )
    return of_input, of_weight, grad_output.sum((0, 2, 3)) if wanted[2] else None


def spectral_conv_backward(
    grad_output: Tensor, input: Tensor, weight: Tensor, sigma: Tensor, u: Tensor, v: Tensor, dim: int, *rest: Any
) -> tuple[Tensor, Tensor, Tensor]:
    *geometry, algorithm, wanted = rest
    grads = _layer_backward(grad_output, input, weight, Geometry(*geometry), algorithm, wanted)
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
