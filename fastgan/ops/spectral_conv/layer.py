"""The layer that spectral_conv stands for, in torch's calls: a convolution, a transposed one, or a linear layer.

Input and weight are made dense first. Dividing one of them by sigma does that too, and which of them is divided is to
leave no trace in the layout of the results.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from fastgan.ops.layout import dense

__all__ = ["Geometry", "layer", "layer_backward", "output_shape"]


class Geometry(NamedTuple):
    """A convolution's arguments in the order of ``aten.convolution``; an empty `stride` is a linear layer."""

    stride: list[int]
    padding: list[int]
    dilation: list[int]
    transposed: bool
    output_padding: list[int]
    groups: int


def layer(input: Tensor, weight: Tensor, bias: Tensor | None, geometry: Geometry) -> Tensor:
    """The layer's output."""
    input, weight = dense(input), dense(weight)
    if not geometry.stride:
        return F.linear(input, weight, bias)
    return torch.convolution(input, weight, bias, *geometry)


def output_shape(input: Tensor, weight: Tensor, geometry: Geometry) -> list[int]:
    """The shape of the layer's output."""
    stride, padding, dilation, transposed, output_padding, groups = geometry
    if not stride:
        return [*input.shape[:-1], weight.shape[0]]
    extents = zip(input.shape[2:], weight.shape[2:], stride, padding, dilation, output_padding, strict=True)
    if transposed:
        spatial = [(n - 1) * s - 2 * p + d * (k - 1) + o + 1 for n, k, s, p, d, o in extents]
        return [input.shape[0], weight.shape[1] * groups, *spatial]
    return [input.shape[0], weight.shape[0], *((n + 2 * p - d * (k - 1) - 1) // s + 1 for n, k, s, p, d, _ in extents)]


def layer_backward(
    grad_output: Tensor, input: Tensor, weight: Tensor, geometry: Geometry, wanted: list[bool]
) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
    """Gradients of input, weight and bias where `wanted`; differentiable. Each is a tensor nobody else holds."""
    input, weight = dense(input), dense(weight)
    if geometry.stride:
        sizes = [weight.shape[1] * geometry.groups if geometry.transposed else weight.shape[0]]
        return torch.ops.aten.convolution_backward(grad_output, input, weight, sizes, *geometry, wanted)
    rows, columns = (x.reshape(-1, x.shape[-1]) for x in (grad_output, input))
    return (
        grad_output @ weight if wanted[0] else None,
        rows.mT @ columns if wanted[1] else None,
        rows.sum(0) if wanted[2] else None,
    )
