"""Layers with weights: convolutions, matrix products, and batch norm with fixed statistics."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from fastgan.tape.node import Phi, Value
from fastgan.tape.rerouting import Geometry, geometry_of, rerouted
from fastgan.tape.rules.call import Call, Outcome, rule


def _channels(bias: Tensor, rank: int) -> Tensor:
    """A vector along dimension 1."""
    return bias.view(-1, *[1] * (rank - 2))


def _convolution(
    call: Call, input: Tensor, weight: Tensor, bias: Tensor | None, options: tuple[Any, ...], geometry: Geometry | None
) -> Outcome | None:
    value = call.only(input)
    if value is None or value.layout.dim != 0 or input.dim() != weight.dim():
        return None
    y = (rerouted(call.function, call.args, call.kwargs) or call)()
    function = call.function

    def tangent(c: Sequence[Tensor], constants: Sequence[Tensor], phi: Phi) -> Tensor:
        product = function(c[0], constants[0], None, *options)
        if len(constants) == 1:
            return product
        bias = constants[1].to(product.dtype)  # as autocasting has it
        return phi.add_(product, _channels(bias, product.dim()), value.layout)

    def weigh(c: Sequence[Tensor], delta: Tensor, constants: Sequence[Tensor], phi: Phi) -> list[Tensor | None]:
        assert geometry is not None
        found = torch.ops.aten.convolution_backward(
            delta, c[0], constants[0], None, *geometry, output_mask=[False, True, False]
        )[1]
        return [found, _bias_gradient(delta.flatten(2).sum(2), phi, value)][: len(constants)]

    direct = None if geometry is None or not weight.requires_grad else weigh
    return y, [call.node(y, [value], value.layout, tangent, [weight, bias], direct)]


def _bias_gradient(delta: Tensor, phi: Phi, value: Value) -> Tensor | None:
    """The sum over rows ``[rows, features]`` of φ'δ."""
    scaled = phi.times(delta, value.layout, 2)
    return None if scaled is None else scaled.sum(0)


@rule("conv1d", "conv2d", "conv3d")
def convolution(
    call: Call,
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Outcome | None:
    geometry = geometry_of(weight, False, stride, padding, dilation, 0, groups)
    return _convolution(call, input, weight, bias, (stride, padding, dilation, groups), geometry)


@rule("conv_transpose1d", "conv_transpose2d", "conv_transpose3d")
def transposed_convolution(
    call: Call,
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    groups: int = 1,
    dilation: Any = 1,
) -> Outcome | None:
    geometry = geometry_of(weight, True, stride, padding, dilation, output_padding, groups)
    return _convolution(call, input, weight, bias, (stride, padding, output_padding, groups, dilation), geometry)


@rule("linear")
def linear(call: Call, input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Outcome | None:
    value = call.only(input)
    if value is None or value.layout.dim == input.dim() - 1 or weight.dim() != 2:
        return None
    y = call()

    def tangent(c: Sequence[Tensor], constants: Sequence[Tensor], phi: Phi) -> Tensor:
        product = F.linear(c[0], constants[0])
        return product if len(constants) == 1 else phi.add_(product, constants[1].to(product.dtype), value.layout)

    def weigh(c: Sequence[Tensor], delta: Tensor, constants: Sequence[Tensor], phi: Phi) -> list[Tensor | None]:
        return [delta.t() @ c[0], _bias_gradient(delta, phi, value)][: len(constants)]

    direct = weigh if input.dim() == 2 and weight.requires_grad else None
    return y, [call.node(y, [value], value.layout, tangent, [weight, bias], direct)]


@rule("matmul", "mm", "__matmul__")
def matmul(call: Call, input: Tensor, other: Tensor) -> Outcome | None:
    value = call.only(input)
    if value is None or input.dim() < 2 or value.layout.dim == input.dim() - 1 or other.dim() > 2:
        return None
    y = call()

    def tangent(c: Sequence[Tensor], constants: Sequence[Tensor], phi: Phi) -> Tensor:
        return torch.matmul(c[0], constants[0])

    return y, [call.node(y, [value], value.layout, tangent, [other])]


@rule("addmm")
def addmm(call: Call, input: Tensor, mat1: Tensor, mat2: Tensor) -> Outcome | None:
    value = call.only(mat1)
    if value is None or value.layout.dim != 0:
        return None
    y = call()

    def tangent(c: Sequence[Tensor], constants: Sequence[Tensor], phi: Phi) -> Tensor:
        return phi.plus(c[0] @ constants[1], constants[0], value.layout)

    return y, [call.node(y, [value], value.layout, tangent, [input, mat2])]


@rule("bmm")
def bmm(call: Call, input: Tensor, mat2: Tensor) -> Outcome | None:
    value = call.only(input)
    if value is None or value.layout.dim != 0:
        return None
    y = call()

    def tangent(c: Sequence[Tensor], constants: Sequence[Tensor], phi: Phi) -> Tensor:
        return torch.bmm(c[0], constants[0])

    return y, [call.node(y, [value], value.layout, tangent, [mat2])]


@rule(functions=[F.batch_norm])
def batch_norm(
    call: Call,
    input: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Outcome | None:
    value = call.only(input)
    if value is None or value.layout.dim != 0 or training or running_mean is None or running_var is None:
        return None
    y = call()
    absent = [each is None for each in (weight, bias)]

    def tangent(c: Sequence[Tensor], constants: Sequence[Tensor], phi: Phi) -> Tensor:
        mean, var, *affine = constants
        scale = torch.rsqrt(var + eps)
        if not absent[0]:
            scale = scale * affine[0]
        shift = -mean * scale
        if not absent[1]:
            shift = shift + affine[-1]
        rank = c[0].dim()
        return phi.plus(c[0] * _channels(scale, rank), _channels(shift, rank), value.layout)

    return y, [call.node(y, [value], value.layout, tangent, [running_mean, running_var, weight, bias])]
