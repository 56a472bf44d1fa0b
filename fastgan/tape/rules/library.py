"""The ops of this library, which come as overloads of ``torch.ops.fastgan``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from fastgan.ops.bias_act import bias_act
from fastgan.ops.box_filter2d import box_filter2d
from fastgan.ops.conv2d import conv2d
from fastgan.ops.conv2d_avg_pool2d import conv2d_avg_pool2d
from fastgan.ops.piecewise_linear import ACTIVATIONS, gate_of
from fastgan.ops.spectral_conv import spectral_conv
from fastgan.ops.upfirdn2d import upfirdn2d
from fastgan.ops.upsample_add import upsample_add
from fastgan.ops.upsample_conv2d import upsample_conv2d
from fastgan.tape.kinks import Kinks
from fastgan.tape.node import Phi, Value, alias
from fastgan.tape.rules.call import Call, Outcome, linear_node, rule


def _batched(call: Call, x: Tensor) -> Value | None:
    value = call.only(x)
    return value if value is not None and value.layout.dim == 0 else None


@rule(functions=[bias_act.overload])
def bias_and_activation(
    call: Call, input: Tensor, bias: Tensor | None, act: str, alpha: float, gain: float, clamp: float | None, dim: int,
    backend: str | None,
) -> Outcome | None:  # fmt: skip
    value = call.only(input)
    if (
        value is None
        or act not in ACTIVATIONS
        or gain <= 0
        or alpha < 0
        or (bias is not None and dim == value.layout.dim)
    ):
        return None
    # At a place of its own in autograd's graph, as the bias's gradient is the sum of the input's.
    place = alias(input)
    y = call.function(place, *call.args[1:])
    # From the output, as the op's own derivative.
    kinks = None if act == "linear" else Kinks.of(y)
    inside = offset = None
    if clamp is not None:
        inside = y.detach().abs() < torch.full((), clamp, dtype=y.dtype, device=y.device)
        offset = y.detach().masked_fill(inside, 0)
    biased, rank = bias is not None, input.dim()
    shape = [-1 if i == dim else 1 for i in range(rank)]
    below = alpha if act == "lrelu" else 0.0

    def tangent(c: Sequence[Tensor], constants: Sequence[Tensor], phi: Phi) -> Tensor:
        remaining = list(constants)
        z = phi.plus(c[0], remaining.pop(0).view(shape), value.layout) if biased else c[0]
        z = kinks.gate(z, below, gain) if kinks is not None else z if gain == 1 else z * gain
        return phi.plus(z * remaining[0], remaining[1], value.layout) if remaining else z

    def weigh(c: Sequence[Tensor], delta: Tensor, constants: Sequence[Tensor], phi: Phi) -> list[Tensor | None]:
        # φ' multiplies sums over all but samples and features, not the whole tensor.
        others = [i for i in range(rank) if i not in (dim, value.layout.dim)]
        dtype = torch.promote_types(delta.dtype, constants[0].dtype)
        sums = delta.sum(others, keepdim=True, dtype=dtype) if others else delta.to(dtype)
        scaled = phi.times(sums, value.layout, rank)
        found = None if scaled is None else scaled.sum([i for i in range(rank) if i != dim]).to(constants[0].dtype)
        return [found, *(None,) * (len(constants) - 1)]

    constants = [bias, inside, offset]
    return y, [call.node(y, [value], value.layout, tangent, constants, weigh if biased else None, place)]


def _plus_bias(product: Tensor, bias: Sequence[Tensor], phi: Phi, value: Value) -> Tensor:
    if not bias:
        return product
    return phi.plus(product, bias[0].to(product.dtype).view(-1, *[1] * (product.dim() - 2)), value.layout)


@rule(functions=[conv2d.overload])
def convolution(
    call: Call, input: Tensor, weight: Tensor, bias: Tensor | None, gate: Tensor | None, act: str, alpha: float,
    residual: Tensor | None, padding: Any, algorithm: str, statistics: bool, backend: str | None,
) -> Outcome | None:  # fmt: skip
    value, added = call.value(input), call.value(residual)
    others = (call.value(weight), call.value(bias))
    if value is None or value.layout.dim != 0 or statistics or gate is not None or others != (None, None):
        return None
    if added is not None and added.layout != value.layout:
        return None
    adds_constant = residual is not None and added is None
    result = call()
    if adds_constant and residual is not None and residual.shape != result[0].shape:
        residual = F.interpolate(residual, scale_factor=2)  # what is added, where the constant itself is smaller
    frozen = gate_of(input.detach(), None, act)
    gated = frozen is not None

    def tangent(c: Sequence[Tensor], constants: Sequence[Tensor], phi: Phi) -> Tensor:
        weight, *rest = constants
        gate = rest.pop(0) if gated else None
        summand = c[1] if len(c) == 2 else None
        product = conv2d(c[0], weight, None, gate, act, alpha, summand, padding, algorithm, False, backend)[0]
        if adds_constant:
            product = phi.plus(product, rest.pop(0), value.layout)
        return _plus_bias(product, rest, phi, value)

    inputs = [value] if added is None else [value, added]
    constants = [weight, frozen, residual if adds_constant else None, bias]
    return result, [call.node(result[0], inputs, value.layout, tangent, constants)]


@rule(functions=[spectral_conv.overload])
def spectral(
    call: Call, input: Tensor, weight: Tensor, bias: Tensor | None, sigma: Tensor, u: Tensor, v: Tensor, dim: int,
    *geometry: Any,
) -> Outcome | None:  # fmt: skip
    value = call.only(input)
    # Without strides it is a linear layer, whose features are last.
    if value is None or (value.layout.dim != 0 if geometry[0] else value.layout.dim == input.dim() - 1):
        return None
    y = call()
    is_convolution = bool(geometry[0])

    def tangent(c: Sequence[Tensor], constants: Sequence[Tensor], phi: Phi) -> Tensor:
        weight, sigma, u, v, *bias = constants
        product = spectral_conv(c[0], weight, None, sigma, u, v, dim, *geometry)
        if is_convolution or not bias:
            return _plus_bias(product, bias, phi, value)
        return phi.plus(product, bias[0], value.layout)

    # Sigma's derivative is part of weight's.
    return y, [call.node(y, [value], value.layout, tangent, [weight, sigma.detach(), u, v, bias])]


@rule(functions=[conv2d_avg_pool2d.overload])
def convolution_and_pooling(
    call: Call, input: Tensor, weight: Tensor, bias: Tensor | None, gate: Tensor | None, act: str, alpha: float,
    *options: Any,
) -> Outcome | None:  # fmt: skip
    value = _batched(call, input)
    if value is None or gate is not None:
        return None
    y = call()
    frozen = gate_of(input.detach(), None, act)
    gated = frozen is not None

    def tangent(c: Sequence[Tensor], constants: Sequence[Tensor], phi: Phi) -> Tensor:
        weight, *rest = constants
        gate = rest.pop(0) if gated else None
        return _plus_bias(conv2d_avg_pool2d(c[0], weight, None, gate, act, alpha, *options), rest, phi, value)

    return y, [call.node(y, [value], value.layout, tangent, [weight, frozen, bias])]


@rule(functions=[box_filter2d.overload])
def box(call: Call, input: Tensor, gate: Tensor | None, act: str, *options: Any) -> Outcome | None:
    value = _batched(call, input)
    if value is None or gate is not None:
        return None
    y = call()

    def tangent(c: Sequence[Tensor], constants: Sequence[Tensor], phi: Phi) -> Tensor:
        return box_filter2d(c[0], constants[0] if constants else None, act, *options)

    return y, [call.node(y, [value], value.layout, tangent, [gate_of(input.detach(), None, act)])]


@rule(functions=[upsample_conv2d.overload])
def upsampling_and_convolution(
    call: Call, input: Tensor, weight: Tensor, bias: Tensor | None, padding: Any, groups: int, residual: Tensor | None,
    statistics: bool, algorithm: str, backend: str | None,
) -> Outcome | None:  # fmt: skip
    value, added = call.value(input), call.value(residual)
    others = (call.value(weight), call.value(bias))
    if value is None or value.layout.dim != 0 or statistics or others != (None, None):
        return None
    if added is not None and added.layout != value.layout:
        return None
    result = call()
    adds_constant = residual is not None and added is None

    def tangent(c: Sequence[Tensor], constants: Sequence[Tensor], phi: Phi) -> Tensor:
        weight, *rest = constants
        product = upsample_conv2d(c[0], weight, None, padding, groups, None, False, algorithm, backend)[0]
        if adds_constant:
            product = phi.plus(product, rest.pop(0), value.layout)
        elif len(c) == 2:
            product = product + c[1]
        return _plus_bias(product, rest, phi, value)

    inputs = [value] if added is None else [value, added]
    constants = [weight, residual if adds_constant else None, bias]
    return result, [call.node(result[0], inputs, value.layout, tangent, constants)]


@rule(functions=[upsample_add.overload])
def upsampled_sum(call: Call, input: Tensor, low: Tensor, statistics: bool, backend: str | None) -> Outcome | None:
    value, added = call.value(input), call.value(low)
    if value is None or added is None or value.layout != added.layout or value.layout.dim != 0 or statistics:
        return None
    result = call()

    def tangent(c: Sequence[Tensor], constants: Sequence[Tensor], phi: Phi) -> Tensor:
        return upsample_add(c[0], c[1], False, backend)[0]

    return result, [call.node(result[0], [value, added], value.layout, tangent)]


@rule(functions=[upfirdn2d.overload])
def resampled(call: Call, input: Tensor, *_: Any) -> Outcome | None:
    return linear_node(call, input, lambda value, y: value.layout) if _batched(call, input) is not None else None
