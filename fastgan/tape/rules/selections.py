"""Maxima and minima: whichever input was chosen, is chosen for the tangent."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from fastgan.tape.node import Node, Phi, Value
from fastgan.tape.rules.arithmetic import common_layout, is_tensor
from fastgan.tape.rules.call import Call, Outcome, rule

_POOLING: dict[Any, tuple[Any, int]] = {
    F.max_pool1d: (F.max_pool1d_with_indices, 1),
    F.max_pool2d: (F.max_pool2d_with_indices, 2),
    F.max_pool3d: (F.max_pool3d_with_indices, 3),
}
_ADAPTIVE: dict[Any, tuple[Any, int]] = {
    F.adaptive_max_pool1d: (F.adaptive_max_pool1d_with_indices, 1),
    F.adaptive_max_pool2d: (F.adaptive_max_pool2d_with_indices, 2),
    F.adaptive_max_pool3d: (F.adaptive_max_pool3d_with_indices, 3),
}


def _gathered(call: Call, value: Value, y: Tensor, indices: Tensor, spatial: int) -> Node | None:
    shape, kept = y.shape, value.shape[:-spatial]

    def tangent(c: Sequence[Tensor], constants: Sequence[Tensor], phi: Phi) -> Tensor:
        return c[0].flatten(-spatial).gather(-1, constants[0].reshape(*kept, -1)).view(shape)

    return call.node(y, [value], value.layout, tangent, [indices])


@rule(functions=list(_POOLING))
def max_pool(
    call: Call,
    input: Tensor,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Outcome | None:
    value = call.only(input)
    with_indices, spatial = _POOLING[call.function]
    if value is None or return_indices or value.layout.dim >= input.dim() - spatial:
        return None
    y, indices = with_indices(input, kernel_size, stride, padding, dilation, ceil_mode)
    return y, [_gathered(call, value, y, indices, spatial)]


@rule(functions=list(_ADAPTIVE))
def adaptive_max_pool(call: Call, input: Tensor, output_size: Any, return_indices: bool = False) -> Outcome | None:
    value = call.only(input)
    with_indices, spatial = _ADAPTIVE[call.function]
    if value is None or return_indices or value.layout.dim >= input.dim() - spatial:
        return None
    y, indices = with_indices(input, output_size)
    return y, [_gathered(call, value, y, indices, spatial)]


def _along(call: Call, input: Tensor, dim: int, keepdim: bool) -> Outcome | None:
    value = call.only(input)
    if value is None or value.layout.dim == dim % input.dim():
        return None
    result = call()

    def tangent(c: Sequence[Tensor], constants: Sequence[Tensor], phi: Phi) -> Tensor:
        picked = c[0].gather(dim, constants[0] if keepdim else constants[0].unsqueeze(dim))
        return picked if keepdim else picked.squeeze(dim)

    layout = value.layout.reduced(input.dim(), [dim], keepdim)
    return result, [call.node(result[0], [value], layout, tangent, [result[1]])]


@rule("max", "min")
def extreme(call: Call, input: Tensor, dim: Any = None, keepdim: bool = False, **named: Any) -> Outcome | None:
    other = named.pop("other", dim)
    if named:
        return None
    if is_tensor(other):
        return larger(call, input, other)
    return _along(call, input, dim, keepdim) if isinstance(dim, int) else None


@rule("maximum", "minimum")
def larger(call: Call, input: Tensor, other: Tensor) -> Outcome | None:
    """Ties count half for each, as in torch's derivative."""
    both = (input, other)
    values = [call.value(x) for x in both]
    y = call()
    above = [x.detach() for x in (both if "max" in call.function.__name__ else both[::-1])]
    share = (above[0] > above[1]).to(y.dtype) + 0.5 * (above[0] == above[1])
    layout = common_layout(values, both, y)
    inputs = [value for value in values if value is not None]
    constants = [share, *(x for x, value in zip(both, values, strict=True) if value is None)]

    def tangent(c: Sequence[Tensor], constants: Sequence[Tensor], phi: Phi) -> Tensor:
        shares = (constants[0], 1 - constants[0])
        if len(c) == 2:
            return c[0] * shares[0] + c[1] * shares[1]
        mine, others = shares if values[0] is not None else shares[::-1]
        assert layout is not None
        return phi.plus(c[0] * mine, constants[1] * others, layout)

    return y, [call.node(y, inputs, layout, tangent, constants)]


@rule("amax", "amin")
def even(call: Call, input: Tensor, dim: Any = (), keepdim: bool = False) -> Outcome | None:
    """Ties share evenly, as in torch's derivative."""
    value = call.only(input)
    dims = [dim] if isinstance(dim, int) else list(dim)
    if value is None or not dims:
        return None
    layout = value.layout.reduced(input.dim(), dims, keepdim)
    if layout is None:
        return None
    y = call()
    chosen = input.detach() == (y if keepdim else _unreduced(y, input.dim(), dims)).detach()
    share = chosen / chosen.sum(dims, keepdim=True, dtype=input.dtype)

    def tangent(c: Sequence[Tensor], constants: Sequence[Tensor], phi: Phi) -> Tensor:
        return (c[0] * constants[0]).sum(dims, keepdim=keepdim)

    return y, [call.node(y, [value], layout, tangent, [share])]


@rule("where")
def where(call: Call, condition: Tensor, input: Any, other: Any) -> Outcome | None:
    both = (input, other)
    values = [call.value(x) for x in both]
    if call.value(condition) is not None or not all(map(is_tensor, both)):
        return None
    y = call()
    layout = common_layout(values, both, y)
    inputs = [value for value in values if value is not None]
    rest = [x for x, value in zip(both, values, strict=True) if value is None]
    mine_first = values[0] is not None

    def tangent(c: Sequence[Tensor], constants: Sequence[Tensor], phi: Phi) -> Tensor:
        chosen = constants[0]
        if len(c) == 2:
            return torch.where(chosen, c[0], c[1])
        mine = chosen if mine_first else ~chosen
        assert layout is not None
        return phi.plus(c[0] * mine, constants[1] * ~mine, layout)

    return y, [call.node(y, inputs, layout, tangent, [condition, *rest])]


@rule("masked_fill", "masked_fill_")
def masked_fill(call: Call, input: Tensor, mask: Tensor, value: Any) -> Outcome | None:
    traced = call.only(input)
    if traced is None or not isinstance(value, (int, float)):
        return None
    y = call()

    def tangent(c: Sequence[Tensor], constants: Sequence[Tensor], phi: Phi) -> Tensor:
        filled = constants[0]
        assert layout is not None
        return phi.plus(c[0] * ~filled, torch.zeros_like(c[0]).masked_fill_(filled, value), layout)

    layout = common_layout([traced], [input], y)
    return y, [call.node(y, [traced], layout, tangent, [mask])]


def _unreduced(y: Tensor, rank: int, dims: Sequence[int]) -> Tensor:
    for dim in sorted(d % rank for d in dims):
        y = y.unsqueeze(dim)
    return y
