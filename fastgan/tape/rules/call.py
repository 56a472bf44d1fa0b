"""What a rule sees of a call, and the table of rules."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from fastgan.tape.layout import Layout
from fastgan.tape.node import Node, Tangent, Value, Weigh

__all__ = ["RULES", "Call", "Outcome", "Rule", "linear_node", "rule", "writes"]

#: What the call returned, and its nodes; None instead of these where something is not linear or mixes samples.
Outcome = tuple[Any, Sequence["Node | None"]]
#: ``rule(call, *args, **kwargs)`` with the call's arguments. None for a call that it does not know, and has not made.
Rule = Callable[..., "Outcome | None"]

RULES: dict[Any, Rule] = {}

_PLACES = (torch, torch.Tensor, F, torch._C._nn, torch.linalg)


def rule(*names: str, functions: Sequence[Any] = ()) -> Callable[[Rule], Rule]:
    """Register a rule for whatever torch calls by one of the names, and for the given functions."""

    def register(function: Rule) -> Rule:
        for name in names:
            for place in _PLACES:
                known = getattr(place, name, None)
                if known is not None:
                    RULES[known] = function
        for known in functions:
            RULES[known] = function
        return function

    return register


class Call:
    """A call on values of the tape.

    Parameters
    ----------
    function : callable
    args, kwargs
        Its arguments.
    values : callable
        From a tensor to its value on the tape, or None.
    """

    def __init__(
        self, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any], values: Callable[[Any], Value | None]
    ) -> None:
        self.function, self.args, self.kwargs, self.value = function, args, kwargs, values

    @property
    def writes(self) -> bool:
        """Whether the function writes to its first argument."""
        return writes(self.function)

    def __call__(self) -> Any:
        """Make the call."""
        return self.function(*self.args, **self.kwargs)

    def only(self, x: Any) -> Value | None:
        """The value of `x`, None where anything else in the call is a value too, or x is none."""
        others = [*self.args, *self.kwargs.values()]
        if any(other is not x and self.value(other) is not None for other in _flat(others)):
            return None
        return self.value(x)

    def node(
        self,
        output: Tensor,
        inputs: Sequence[Value],
        layout: Layout | None,
        tangent: Tangent,
        constants: Sequence[Tensor | None] = (),
        weigh: Weigh | None = None,
        place: Tensor | None = None,
    ) -> Node | None:
        """The node of an output; None without a layout or a gradient. Constants that are None are left out.

        `weigh` is given the gradient of `place`, by default the output's.
        """
        if layout is None or not output.requires_grad:
            return None
        edge = torch.autograd.graph.get_gradient_edge(output)
        value = Value(output.shape, layout, edge)
        device = output.device.type
        autocast = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else None
        at = None if place is None else Value(place.shape, layout, torch.autograd.graph.get_gradient_edge(place))
        return Node(inputs, value, [each for each in constants if each is not None], tangent, autocast, weigh, at)


def writes(function: Any) -> bool:
    """Whether a function writes to its first argument, by its name."""
    name = getattr(function, "__name__", "")
    return name.startswith("__i") if name.startswith("__") else name.endswith("_")


def _flat(arguments: Sequence[Any]) -> list[Any]:
    flat: list[Any] = []
    for each in arguments:
        flat += each if isinstance(each, (list, tuple)) else [each]
    return flat


def linear_node(call: Call, x: Tensor, layout: Callable[[Value, Tensor], Layout | None]) -> Outcome | None:
    """The outcome of a call that is linear in `x`, its first argument, and has no other tensors that matter.

    `layout` is called with x's value and the output.
    """
    value = call.only(x)
    if value is None or not call.args or call.args[0] is not x:
        return None
    y = call()
    function, rest, kwargs = call.function, call.args[1:], call.kwargs

    def tangent(c: Sequence[Tensor], constants: Sequence[Tensor], phi: Any) -> Tensor:
        return function(c[0], *rest, **kwargs)

    return y, [call.node(y, [value], layout(value, y), tangent)]
