"""Checks of the arguments of spectral_conv and of its derivative."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from fastgan.ops import checks
from fastgan.ops.conv2d import ALGORITHMS
from fastgan.ops.spectral_conv.layer import Geometry, output_shape
from fastgan.ops.spectral_norm.arguments import check_sigma, check_weight

__all__ = ["check_backward", "check_forward"]

_PER_DIMENSION = ("stride", "padding", "dilation", "output_padding")


def _check_like_weight(function: str, argument: str, tensor: Tensor, weight: Tensor) -> None:
    if tensor.dtype != weight.dtype:
        raise TypeError(f"{function}: {argument} must be {weight.dtype} like weight, got {tensor.dtype}")
    if tensor.device != weight.device:
        raise ValueError(f"{function}: {argument} must be on {weight.device} like weight, got {tensor.device}")


def _check_layer(
    function: str, input: Tensor, weight: Tensor, sigma: Tensor, u: Tensor, v: Tensor, dim: int, geometry: Geometry
) -> None:
    check_weight(function, ("weight", "u", "v"), weight, u, v, dim)
    check_sigma(function, "sigma", sigma, weight)
    _check_like_weight(function, "input", input, weight)
    spatial = weight.dim() - 2
    if spatial < 0:
        raise ValueError(f"{function}: weight must have at least 2 dimensions, got {list(weight.shape)}")
    for argument in _PER_DIMENSION:
        given = getattr(geometry, argument)
        if len(given) != spatial:
            raise ValueError(
                f"{function}: {argument} must have {spatial} entries to match weight {list(weight.shape)}, got {given}"
            )
    channels = weight.shape[0] if geometry.transposed else weight.shape[1] * geometry.groups
    if spatial:
        fits = input.dim() == weight.dim() and input.shape[1] == channels
    else:
        fits = input.dim() > 0 and input.shape[-1] == channels
    if not fits:
        expected = ", ".join(["N", str(channels), *["*"] * spatial] if spatial else ["...", str(channels)])
        raise ValueError(
            f"{function}: input must be [{expected}] to match weight {list(weight.shape)}, got {list(input.shape)}"
        )


def check_forward(
    function: str,
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    sigma: Tensor,
    u: Tensor,
    v: Tensor,
    dim: int,
    *rest: Any,
) -> None:
    """TypeError or ValueError unless the arguments of spectral_conv fit together."""
    *geometry, algorithm, _backend = rest
    layer = Geometry(*geometry)
    checks.check_choice(function, "algorithm", algorithm, ALGORITHMS)
    _check_layer(function, input, weight, sigma, u, v, dim, layer)
    if bias is not None:
        checks.check_floating(function, "bias", bias)
        _check_like_weight(function, "bias", bias, weight)
        length = weight.shape[1] * layer.groups if layer.transposed else weight.shape[0]
        checks.check_length(function, "bias", bias, length, f"weight {list(weight.shape)}")


def check_backward(
    function: str,
    grad_output: Tensor,
    input: Tensor,
    weight: Tensor,
    sigma: Tensor,
    u: Tensor,
    v: Tensor,
    dim: int,
    *rest: Any,
) -> None:
    """TypeError or ValueError unless the arguments of spectral_conv_backward fit together."""
    *geometry, algorithm, wanted, _backend = rest
    layer = Geometry(*geometry)
    checks.check_choice(function, "algorithm", algorithm, ALGORITHMS)
    _check_layer(function, input, weight, sigma, u, v, dim, layer)
    _check_like_weight(function, "grad_output", grad_output, weight)
    shape = output_shape(input, weight, layer)
    if list(grad_output.shape) != shape:
        raise ValueError(
            f"{function}: grad_output must be {shape} to match input {list(input.shape)} and weight "
            f"{list(weight.shape)}, got {list(grad_output.shape)}"
        )
    if len(wanted) != 3:
        raise ValueError(f"{function}: wanted must have an entry for each of input, weight and bias, got {wanted}")
