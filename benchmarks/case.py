"""A case: one workload, our sides and the peers', what must move, and how a side becomes a timed call."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import torch
from torch import Tensor

from .check import sum_error

__all__ = ["BACKWARD", "FORWARD", "MODES", "Bound", "Case", "Problem", "Side", "in_layouts", "stateless", "stock_peers"]

FORWARD, BACKWARD = MODES = ("forward", "forward+backward")
LAYOUTS = (torch.contiguous_format, torch.channels_last)

Function = Callable[..., "Tensor | tuple[Tensor, ...]"]
Call = Callable[[], "tuple[Tensor | None, ...]"]


class Bound(NamedTuple):
    """What a side makes of a case's inputs: ``function(*arguments)`` gives outputs, derived with respect to `wanted`.

    The function may hold state made of the inputs, a module's say; its first call is the one that is checked.
    """

    function: Function
    arguments: tuple[Tensor, ...]
    wanted: tuple[Tensor, ...]


Bind = Callable[["tuple[Tensor, ...]"], Bound]


def stateless(function: Function) -> Bind:
    """A function of the inputs as they are; gradients are taken with respect to those that require them."""
    return lambda inputs: Bound(function, inputs, tuple(x for x in inputs if x.requires_grad))


@dataclass(frozen=True)
class Side:
    """One way to compute a case: what it makes of inputs in one layout, compiled or not."""

    name: str
    bind: Bind
    layout: torch.memory_format = torch.contiguous_format
    compiled: bool = False


def in_layouts(
    name: str, function: Function, layouts: Sequence[torch.memory_format], compiled: bool = False
) -> list[Side]:
    """The same function once in each memory layout."""
    suffix = {torch.contiguous_format: "", torch.channels_last: " channels_last"}
    return [Side(name + suffix[layout], stateless(function), layout, compiled) for layout in layouts]


def stock_peers(
    function: Function, in_place: Function | None = None, layouts: Sequence[torch.memory_format] = LAYOUTS
) -> list[Side]:
    """The peers of a tensor workload: eager, its in-place form and torch.compile, in each layout."""
    peers = in_layouts("eager", function, layouts)
    if in_place is not None:
        peers += in_layouts("in-place", in_place, layouts)
    return peers + in_layouts("compile", function, layouts, compiled=True)


@dataclass(frozen=True)
class Case:
    """A workload that our sides and the peers all compute.

    Attributes
    ----------
    family, name : str
        The op, and the workload within it.
    workload : mapping
        What defines it, for the record: shape, dtype, parameters.
    inputs : callable
        Makes the arguments of every side: CPU tensors in the default layout, the same at every call.
    ours, peers : sequence of Side
        The headline ratio is the fastest valid peer's time over the fastest of ours.
    reference : callable
        The stock form, bound like a side; what it gives on float64 copies of the inputs is what every side must give.
    dtype : torch.dtype
        Of the computation: decides the tolerance, and which GEMM rate is the yardstick.
    bytes, flops : mapping of mode to int
        What must be moved and computed at least, counted from shapes: each tensor that crosses the
        op's border, and each that its backward needs, once a pass.
    modes : sequence of str
        The modes measured.
    overhead : bool
        A tiny workload that shows the price of a call rather than of its arithmetic.
    quick : bool
        Whether ``--quick`` includes it.
    baseline : Side, optional
        The same without what is compared, whose outputs are those of the sides: what a side takes beyond it is the
        cost that is related to the others' and to the machine. A compiled side's is what it takes beyond the compiled
        baseline.
    sums : mapping of int to int
        How many terms those results have, by position among outputs and gradients, that are sums over the cotangent of
        the only output: they are judged by the rounding of a sum. Gradients of biases, that is.
    """

    family: str
    name: str
    workload: Mapping[str, Any]
    inputs: Callable[[], tuple[Tensor, ...]]
    ours: Sequence[Side]
    peers: Sequence[Side]
    reference: Bind
    dtype: torch.dtype
    bytes: Mapping[str, int]
    flops: Mapping[str, int]
    modes: Sequence[str] = MODES
    overhead: bool = False
    quick: bool = False
    baseline: Side | None = None
    sums: Mapping[int, int] = field(default_factory=dict)

    @property
    def sides(self) -> list[Side]:
        """Ours first, then the peers."""
        return [*self.ours, *self.peers]

    def baseline_of(self, side: Side) -> Side | None:
        """What `side`'s time is taken beyond."""
        if self.baseline is None or not side.compiled:
            return self.baseline
        return replace(self.baseline, name=f"{self.baseline.name}, compile", compiled=True)


def _tuple(result: Tensor | tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return result if isinstance(result, tuple) else (result,)


def _double(tensor: Tensor) -> Tensor:
    """A copy, in float64 unless it holds indices."""
    copy = tensor.detach().clone()
    return copy.double().requires_grad_(tensor.requires_grad) if tensor.is_floating_point() else copy


def _laid_out(tensors: Sequence[Tensor], device: torch.device, layout: torch.memory_format) -> tuple[Tensor, ...]:
    copies = []
    for tensor in tensors:
        copy = tensor.detach().to(device, copy=True)
        if tensor.dim() == 4:
            copy = copy.contiguous(memory_format=layout)
        copies.append(copy.requires_grad_(tensor.requires_grad))
    return tuple(copies)


def _gradients(
    outputs: tuple[Tensor, ...], wanted: tuple[Tensor, ...], cotangents: tuple[Tensor, ...]
) -> tuple[Tensor | None, ...]:
    # autograd.grad rather than backward(): nothing accumulates from one call to the next.
    return torch.autograd.grad(outputs, wanted, cotangents, allow_unused=True)


class Problem:
    """A case on a device: its inputs, the random dense cotangents of its outputs, and what is expected.

    Parameters
    ----------
    case : Case
    device : torch.device
    """

    def __init__(self, case: Case, device: torch.device) -> None:
        # Every case compiles afresh: dynamo's limit counts all that share a function's code, and falls back silently.
        torch.compiler.reset()
        # float32 means float32 on a GPU too: a tolerance wide enough for TF32 would let wrong results pass.
        torch.backends.cudnn.allow_tf32 = False
        self.case, self.device = case, device
        self._inputs = case.inputs()
        function, arguments, wanted = case.reference(tuple(_double(tensor) for tensor in self._inputs))
        outputs = _tuple(function(*arguments))
        generator = torch.Generator().manual_seed(1)
        self._cotangents = tuple(torch.randn(y.shape, generator=generator).to(case.dtype) for y in outputs)
        self._outputs: tuple[Tensor | None, ...] = tuple(y.detach() for y in outputs)
        self._gradients: tuple[Tensor | None, ...] = ()
        if BACKWARD in case.modes:
            self._gradients = _gradients(outputs, wanted, tuple(t.double() for t in self._cotangents))

    def expected(self, mode: str) -> tuple[Tensor | None, ...]:
        """The float64 results: outputs, and in the second mode the gradients after them."""
        return self._outputs if mode == FORWARD else self._outputs + self._gradients

    def errors(self) -> dict[int, float]:
        """What is allowed to the results that are sums."""
        return {i: sum_error(self._cotangents[0], terms, self.case.dtype) for i, terms in self.case.sums.items()}

    def call(self, side: Side, mode: str) -> Call:
        """What is timed: no arguments, returns outputs (and gradients); inputs and cotangents in the side's layout."""
        function, arguments, wanted = side.bind(_laid_out(self._inputs, self.device, side.layout))
        if side.compiled:
            function = torch.compile(function, dynamic=False)
        if mode == FORWARD:

            def forward() -> tuple[Tensor | None, ...]:
                with torch.no_grad():
                    return _tuple(function(*arguments))

            return forward
        cotangents = _laid_out(self._cotangents, self.device, side.layout)

        def forward_backward() -> tuple[Tensor | None, ...]:
            outputs = _tuple(function(*arguments))
            return outputs + _gradients(outputs, wanted, cotangents)

        return forward_backward
