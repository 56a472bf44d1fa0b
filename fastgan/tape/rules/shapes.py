"""Operations that move elements: reshapes, views, slices, copies."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from fastgan.tape.layout import Layout
from fastgan.tape.node import Value
from fastgan.tape.rules.call import Call, Outcome, linear_node, rule


@rule("reshape", "view", "view_as", "reshape_as", "flatten", "unflatten", "ravel", "squeeze", "unsqueeze")
def reshape(call: Call, x: Tensor, *_: Any, **__: Any) -> Outcome | None:
    """All of these are the reshape to the shape that came out; the tangent's memory may lie otherwise."""
    value = call.value(x)
    if value is None or any(isinstance(each, torch.dtype) for each in (*call.args, *call.kwargs.values())):
        return None
    y = call()
    shape = y.shape
    layout = value.layout.reshaped(value.shape, shape)
    return y, [call.node(y, [value], layout, lambda c, constants, phi: c[0].reshape(shape))]


@rule(
    "permute", "transpose", "swapaxes", "swapdims", "movedim", "moveaxis", "t", "narrow", "select", "expand",
    "__getitem__",
    functions=[torch.Tensor.unfold, torch.Tensor.T.__get__, torch.Tensor.mT.__get__],  # type: ignore[attr-defined]
)  # fmt: skip
def view(call: Call, x: Tensor, *rest: Any, **named: Any) -> Outcome | None:
    value = call.only(x)
    if value is None or not _is_basic(rest):
        return None
    function = call.function
    (layout,) = value.layout.viewed(value.shape, lambda seen: function(seen, *rest, **named))
    if layout is None:
        return None
    return linear_node(call, x, lambda value, y: layout)


def _is_basic(index: Any) -> bool:
    """Whether arguments are such that the result is a view, whose layout can be read off."""
    if isinstance(index, (tuple, list)):
        return all(map(_is_basic, index)) and not (isinstance(index, list) and any(isinstance(i, bool) for i in index))
    return index is None or index is Ellipsis or (isinstance(index, (int, slice)) and not isinstance(index, bool))


@rule("chunk", "split", "split_with_sizes", "tensor_split", "unbind")
def views(call: Call, x: Tensor, *rest: Any, **named: Any) -> Outcome | None:
    value = call.only(x)
    if value is None or any(isinstance(each, Tensor) for each in (*rest, *named.values())):
        return None
    function = call.function
    layouts = value.layout.viewed(value.shape, lambda seen: function(seen, *rest, **named))
    if None in layouts:
        return None
    parts = call()

    def part(i: int) -> Any:
        return lambda c, constants, phi: function(c[0], *rest, **named)[i]

    return parts, [call.node(y, [value], layouts[i], part(i)) for i, y in enumerate(parts)]


def _same(value: Value, y: Tensor) -> Layout:
    return value.layout


@rule("contiguous", "clone", "float", "double", "half", "bfloat16", "to", "type_as", "alias")
def copy(call: Call, x: Tensor, *_: Any, **__: Any) -> Outcome | None:
    return linear_node(call, x, _same)


@rule("repeat", functions=[torch.tile, torch.Tensor.tile])
def repeat(call: Call, x: Tensor, *sizes: Any) -> Outcome | None:
    counts = sizes[0] if len(sizes) == 1 and isinstance(sizes[0], (tuple, list)) else sizes
    value = call.only(x)
    if value is None or len(counts) < x.dim() or not all(isinstance(each, int) for each in counts):
        return None
    new = len(counts) - x.dim()
    # Along the batch samples would come again after the last one, not each beside itself.
    if counts[new + value.layout.dim] != 1:
        return None
    return linear_node(
        call, x, lambda value, y: Layout(value.layout.samples, value.layout.dim + new, value.layout.inner)
    )


@rule("repeat_interleave")
def repeat_interleave(call: Call, x: Tensor, repeats: Any, dim: int | None = None) -> Outcome | None:
    if not isinstance(repeats, int) or dim is None or repeats < 1:
        return None
    along = dim % x.dim()

    def layout(value: Value, y: Tensor) -> Layout:
        before = value.layout
        return Layout(before.samples, before.dim, before.inner * (repeats if along == before.dim else 1))

    return linear_node(call, x, layout)


@rule("flip", "roll")
def moved(call: Call, x: Tensor, *rest: Any, **named: Any) -> Outcome | None:
    dims = named.get("dims", rest[-1] if rest else None)
    dims = [dims] if isinstance(dims, int) else dims
    value = call.only(x)
    if (
        value is None
        or not isinstance(dims, (list, tuple))
        or (call.function.__name__ == "roll" and len(rest) < 2 and "dims" not in named)
    ):
        return None
    if value.layout.dim in {dim % x.dim() for dim in dims}:
        return None
    return linear_node(call, x, _same)
