"""F: the calls on what depends on the input, recorded as they are made.

Autograd's own graph is built at the same time, and decides what depends on the input: a tensor does if its graph
reaches the input's node. So whatever the rules do not know, and whatever never passes through the recorder (a
user's autograd.Function, a compiled graph), is noticed where its result is used next. Then the tape is cut: what came
before is left to autograd, and the tape begins anew. Values are known by their places in autograd's graph, which
in-place operations and views change and Python's objects do not show.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from fastgan.tape.explanation import Step
from fastgan.tape.layout import Layout
from fastgan.tape.node import Node, Value, alias
from fastgan.tape.rerouting import rerouted
from fastgan.tape.rules import RULES, Call, writes
from fastgan.tape.rules.rectifiers import rectified, rectifier

__all__ = ["Recorder"]

#: Calls that return no tensor and change gradients all the same.
_HOOKS = ("register_hook", "register_post_accumulate_grad_hook", "retain_grad", "backward")
_UNKNOWN = "not known to be piecewise linear, or not in this form"
_WRITTEN = "writes to what the tape begins with, or in a form that is not known"
_MIXED = "does not keep samples apart, or not in a way that is followed"


class Recorder(TorchFunctionMode):
    """Records while it is active.

    Parameters
    ----------
    source : Tensor
        The input, no leaf of autograd's graph.

    Attributes
    ----------
    nodes : list of Node
        The tape.
    roots : list of Value
        What it begins with.
    steps : list of Step
    """

    def __init__(self, source: Tensor) -> None:
        super().__init__()
        self.nodes: list[Node] = []
        self.roots: list[Value] = []
        self.steps: list[Step] = []
        self._values: dict[tuple[Any, int], Value] = {}
        self._tail: set[Any] = set()  # autograd's nodes of the tape's values
        self._head = {source.grad_fn}  # nodes that depend on the input and do not on the tape
        self._free: dict[Any, tuple[int, ...]] = {}  # nodes that do not depend on it, and the ids of their leaves
        self._refused = False

    def value(self, x: Any) -> Value | None:
        """The value that a tensor is on the tape now."""
        if not isinstance(x, Tensor) or x.grad_fn is None:
            return None
        return self._values.get((x.grad_fn, x.output_nr))

    def depends(self, x: Tensor) -> bool:
        """Whether a tensor depends on the input."""
        return x.requires_grad and (self.value(x) is not None or self._ancestry(x) is not None)

    def __torch_function__(
        self, function: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Record the call, if it is about something that depends on the input."""
        kwargs = kwargs or {}
        tensors = list(_tensors((args, kwargs)))
        dependent = [x for x in tensors if x.requires_grad and (self.value(x) or self._dependent(x, function))]
        if not dependent:
            return function(*args, **kwargs)
        if function in RULES and torch.is_grad_enabled() and not self._refused:
            found = self._follow_rule(function, args, kwargs, tensors, dependent)
            if found is not None:
                return found[0]
        return self._leave_to_autograd(function, args, kwargs, tensors, dependent)

    def _dependent(self, x: Tensor, function: Any) -> bool:
        """Whether something that is no value depends on the input; cuts the tape where it came from it unseen."""
        ancestry = self._ancestry(x)
        if ancestry == "tail":
            self.cut(Step(type(x.grad_fn).__name__, reason="made where it could not be seen"))
        return ancestry is not None

    def _ancestry(self, x: Tensor) -> str | None:
        """Whether autograd's graph of `x` reaches the tape ("tail"), or the input elsewhere ("head")."""
        if x.grad_fn is None or x.grad_fn in self._free:
            return None
        seen, pending, found = {x.grad_fn}, [x.grad_fn], False
        while pending:
            node = pending.pop()
            if node in self._tail:
                return "tail"
            if node in self._head:
                found = True
            elif node not in self._free:
                following = {following for following, _ in node.next_functions if following is not None} - seen
                seen |= following
                pending += following
        if found:
            self._head.add(x.grad_fn)
            return "head"
        leaves = tuple(id(node.variable) for node in seen if hasattr(node, "variable"))
        self._free[x.grad_fn] = leaves
        return None

    def _follow_rule(
        self,
        function: Any,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        tensors: Sequence[Tensor],
        dependent: Sequence[Tensor],
    ) -> tuple[Any] | None:
        """What the call returned, in a tuple; None if it was not made."""
        aliases: dict[int, Tensor] = {}
        for x in dependent:
            value = self.value(x) or self._root(x)
            if value is None:
                return None
            if value.alias is not None:
                aliases[id(x)] = value.alias
        if aliases and _writes(function, args, kwargs):
            return None
        # Each use of a parameter has a gradient of its own, also where the parameter is used to make another one.
        aliases.update((id(x), alias(x)) for x in tensors if x.requires_grad and self.value(x) is None)
        leaves = self._leaves_of(tensors)
        call_args, call_kwargs = _replaced(args, aliases), _replaced(kwargs, aliases)
        try:
            outcome = RULES[function](Call(function, call_args, call_kwargs, self.value), *call_args, **call_kwargs)
        except TypeError as error:
            if error.__traceback__ is not None and error.__traceback__.tb_next is not None:
                raise  # not about the rule's arguments
            return None
        if outcome is None:
            return None
        result, nodes = outcome
        step = Step(_name(function), leaves, on_tape=True)
        if None in nodes:
            step.reason = _MIXED
            self.cut(step)
            return (result,)
        self.steps.append(step)
        for node in nodes:
            assert node is not None and node.output.edge is not None
            key = (node.output.edge.node, node.output.edge.output_nr)
            if key not in self._values:  # else the call returned its argument
                self._values[key] = node.output
                self._tail.add(key[0])
                self.nodes.append(node)
        return (result,)

    def _root(self, x: Tensor) -> Value | None:
        """Begin the tape with a tensor that autograd has made, or None where it has no samples."""
        if x.dim() == 0 or x.numel() == 0 or not x.is_floating_point():
            return None
        stand_in = alias(x)
        edge = torch.autograd.graph.get_gradient_edge(stand_in)
        value = Value(x.shape, Layout(x.shape[0], 0), edge, x, stand_in)
        self._values[x.grad_fn, x.output_nr] = self._values[edge.node, 0] = value
        self._tail.add(edge.node)
        self.roots.append(value)
        return value

    def _leave_to_autograd(
        self,
        function: Any,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        tensors: Sequence[Tensor],
        dependent: Sequence[Tensor],
    ) -> Any:
        versions = [x._version for x in dependent]
        on_tape = [value is not None and value.source is None for value in map(self.value, dependent)]
        leaves = self._leaves_of(tensors)
        known = rectifier(function, args, kwargs)
        made = rerouted(function, args, kwargs) or partial(function, *args, **kwargs)
        result = made() if known is None else rectified(known, made)
        changed = any(x._version != version for x, version in zip(dependent, versions, strict=True))
        hooked = _name(function) in _HOOKS
        if not (changed or hooked or any(x.requires_grad for x in _tensors([result]))):
            return result  # a shape, a number, a mask: no derivative goes through it
        step = Step(_name(function), leaves, _WRITTEN if changed else _UNKNOWN)
        self._refused |= hooked
        if changed or hooked or any(on_tape):
            self.cut(step)
        else:
            self.steps.append(step)
        return result

    def cut(self, step: Step) -> None:
        """Leave all before to autograd."""
        for earlier in self.steps:
            if earlier.on_tape:
                earlier.on_tape, earlier.reason = False, f"before {step.operation}"
        step.on_tape = False
        self.steps.append(step)
        self._head |= self._tail
        for kept in (self._tail, self._values, self.nodes, self.roots):
            kept.clear()

    def _leaves_of(self, tensors: Sequence[Tensor]) -> tuple[tuple[int, ...], ...]:
        """Ids of the parameters among some tensors, and of those that they were made of."""
        return tuple(
            (id(x),) if x.grad_fn is None else self._free.get(x.grad_fn, ()) for x in tensors if x.requires_grad
        )


def _name(function: Any) -> str:
    name = getattr(function, "__name__", str(function))
    return name if name != "__get__" else getattr(function.__self__, "__name__", name)


def _writes(function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    """Whether a call of a function that has a rule writes to its argument."""
    if writes(function) or kwargs.get("inplace"):
        return True
    return args[-1] is True and "inplace" in getattr(getattr(function, "__code__", None), "co_varnames", ())


def _tensors(arguments: Any) -> Iterator[Tensor]:
    """The tensors in arguments and in containers there."""
    if isinstance(arguments, Tensor):
        yield arguments
        return
    for each in arguments.values() if isinstance(arguments, dict) else arguments:
        if isinstance(each, Tensor):
            yield each
        elif isinstance(each, (list, tuple, dict)):
            yield from _tensors(each)


def _replaced(arguments: Any, by_id: dict[int, Tensor]) -> Any:
    """The arguments with tensors replaced."""
    if not by_id:
        return arguments
    if isinstance(arguments, Tensor):
        return by_id.get(id(arguments), arguments)
    if isinstance(arguments, (list, tuple)):
        members = [_replaced(each, by_id) for each in arguments]
        return members if isinstance(arguments, list) else tuple(members)
    if isinstance(arguments, dict):
        return {key: _replaced(each, by_id) for key, each in arguments.items()}
    return arguments
