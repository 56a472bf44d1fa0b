"""Sums, products with constants, joins and reductions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeGuard

import torch
from torch import Tensor

from fastgan.tape.layout import Layout
from fastgan.tape.node import Phi, Value
from fastgan.tape.rules.call import Call, Outcome, linear_node, rule

__all__ = ["common_layout", "is_tensor"]


def is_tensor(x: Any) -> TypeGuard[Tensor]:
    """Whether an operand is a tensor."""
    return isinstance(x, Tensor)


def common_layout(values: Sequence[Value | None], operands: Sequence[Any], output: Tensor) -> Layout | None:
    """The layout of a broadcast operation's output; None where the values' samples do not come together."""
    layouts = {
        v.layout.broadcast(x.shape, output.shape) for v, x in zip(values, operands, strict=True) if v is not None
    }
    return layouts.pop() if len(layouts) == 1 else None


def _sum(call: Call, left: Any, right: Any, signs: tuple[float, float]) -> Outcome | None:
    operands, values = (left, right), (call.value(left), call.value(right))
    if values[0] is None and call.writes:
        return None
    y = call()
    layout = common_layout(values, operands, y)
    inputs = [value for value in values if value is not None]
    constant = next((x for x, value in zip(operands, values, strict=True) if value is None), None)
    fixed = None if constant is None or is_tensor(constant) else constant
    mine = signs[0] if values[0] is not None else signs[1]
    others = signs[1] if values[0] is not None else signs[0]
    shape, dtype = y.shape, y.dtype

    def tangent(c: Sequence[Tensor], constants: Sequence[Tensor], phi: Phi) -> Tensor:
        if len(c) == 2:
            return torch.add(c[0], c[1], alpha=others) if mine == 1 else c[0] * mine + c[1] * others
        assert layout is not None
        scaled = c[0] if mine == 1 else c[0] * mine
        added = constants[0] if fixed is None else torch.full((), fixed, dtype=dtype, device=c[0].device)
        return phi.plus(scaled.expand(shape), added if others == 1 else added * others, layout)

    return y, [call.node(y, inputs, layout, tangent, [constant] if is_tensor(constant) else [])]


@rule("add", "add_", "__add__", "__iadd__", "__radd__")
def add(call: Call, left: Any, right: Any, alpha: float = 1) -> Outcome | None:
    return _sum(call, left, right, (1, alpha))


@rule("sub", "sub_", "subtract", "__sub__", "__isub__")
def sub(call: Call, left: Any, right: Any, alpha: float = 1) -> Outcome | None:
    return _sum(call, left, right, (1, -alpha))


@rule("rsub", "__rsub__")
def rsub(call: Call, left: Any, right: Any, alpha: float = 1) -> Outcome | None:
    return _sum(call, left, right, (-alpha, 1))


@rule("neg", "neg_", "negative", "__neg__")
def neg(call: Call, x: Tensor) -> Outcome | None:
    value = call.only(x)
    if value is None:
        return None
    y = call()
    return y, [call.node(y, [value], value.layout, lambda c, constants, phi: -c[0])]


@rule("mul", "mul_", "multiply", "__mul__", "__imul__", "__rmul__")
def mul(call: Call, left: Any, right: Any) -> Outcome | None:
    x, factor = (left, right) if call.value(left) is not None else (right, left)
    return _scaled(call, x, factor, lambda c, f: c * f)


@rule("div", "div_", "divide", "true_divide", "__truediv__", "__itruediv__")
def div(call: Call, x: Any, divisor: Any) -> Outcome | None:
    return _scaled(call, x, divisor, lambda c, f: c / f)


def _scaled(call: Call, x: Any, factor: Any, product: Any) -> Outcome | None:
    value = call.value(x)
    if value is None or (call.writes and call.args[0] is not x):
        return None
    if call.value(factor) is not None or not (is_tensor(factor) or isinstance(factor, (int, float))):
        return None
    y = call()

    def tangent(c: Sequence[Tensor], constants: Sequence[Tensor], phi: Phi) -> Tensor:
        return product(c[0], constants[0] if constants else factor)

    layout = common_layout([value], [x], y)
    return y, [call.node(y, [value], layout, tangent, [factor] if is_tensor(factor) else [])]


@rule("lerp")
def lerp(call: Call, start: Any, end: Any, weight: Any) -> Outcome | None:
    values = (call.value(start), call.value(end))
    if call.value(weight) is not None or None in values:
        return None
    y = call()

    def tangent(c: Sequence[Tensor], constants: Sequence[Tensor], phi: Phi) -> Tensor:
        return torch.lerp(c[0], c[1], constants[0] if constants else weight)

    layout = common_layout(values, (start, end), y)
    inputs = [value for value in values if value is not None]
    return y, [call.node(y, inputs, layout, tangent, [weight] if is_tensor(weight) else [])]


@rule("cat", "concat", "concatenate", "stack")
def join(call: Call, tensors: Sequence[Tensor], dim: int = 0) -> Outcome | None:
    values = [call.value(x) for x in tensors]
    inputs = [value for value in values if value is not None]
    stacks = call.function is torch.stack
    rank = tensors[0].dim()
    before = {value.layout for value in inputs}
    if len(before) != 1 or any(x.dim() != rank for x in tensors):
        return None
    (layout,) = before
    position = dim % (rank + stacks)
    if not stacks and position == layout.dim:
        return None
    y = call()
    after = Layout(layout.samples, layout.dim + (stacks and position <= layout.dim), layout.inner)
    function = call.function

    def tangent(c: Sequence[Tensor], constants: Sequence[Tensor], phi: Phi) -> Tensor:
        tangents, others = iter(c), iter(constants)
        members = []
        for value in values:
            if value is not None:
                members.append(next(tangents))
                continue
            constant = next(others)
            scaled = phi.times(constant, layout, rank)
            members.append(torch.zeros_like(constant) if scaled is None else scaled)
        return function(members, dim)

    constants = [x for x, value in zip(tensors, values, strict=True) if value is None]
    return y, [call.node(y, inputs, after, tangent, constants)]


@rule("sum", "mean")
def reduction(
    call: Call, input: Tensor, dim: Any = None, keepdim: bool = False, *, dtype: torch.dtype | None = None
) -> Outcome | None:
    dims = [dim] if isinstance(dim, int) else dim
    if not isinstance(dims, (list, tuple)) or not dims:
        return None
    value = call.only(input)
    layout = None if value is None else value.layout.reduced(input.dim(), dims, keepdim)
    if layout is None:
        return None
    return linear_node(call, input, lambda value, y: layout)
