"""A case: one workload, our sides and the peers', what must move, and how a side becomes a timed call."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

__all__ = ["BACKWARD", "FORWARD", "MODES", "Case", "Problem", "Side", "in_layouts", "stock_peers"]

FORWARD, BACKWARD = MODES = ("forward", "forward+backward")
LAYOUTS = (torch.contiguous_format, torch.channels_last)

Function = Callable[..., "Tensor | tuple[Tensor, ...]"]
Call = Callable[[], "tuple[Tensor | None, ...]"]


@dataclass(frozen=True)
class Side:
    """One way to compute a case: a function of the case's inputs, in one layout, compiled or not."""

    name: str
    function: Function
    layout: torch.memory_format = torch.contiguous_format
    compiled: bool = False


def in_layouts(
    name: str, function: Function, layouts: Sequence[torch.memory_format], compiled: bool = False
) -> list[Side]:
    """The same function once in each memory layout."""
    suffix = {torch.contiguous_format: "", torch.channels_last: " channels_last"}
    return [Side(name + suffix[layout], function, layout, compiled) for layout in layouts]


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
        Gradients are taken with respect to those that require them.
    ours, peers : sequence of Side
        The headline ratio is the fastest valid peer's time over the fastest of ours.
    reference : callable
        The stock form; what it gives on float64 copies of the inputs is what every side must give.
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
    """

    family: str
    name: str
    workload: Mapping[str, Any]
    inputs: Callable[[], tuple[Tensor, ...]]
    ours: Sequence[Side]
    peers: Sequence[Side]
    reference: Function
    dtype: torch.dtype
    bytes: Mapping[str, int]
    flops: Mapping[str, int]
    modes: Sequence[str] = MODES
    overhead: bool = False
    quick: bool = False

    @property
    def sides(self) -> list[Side]:
        """Ours first, then the peers."""
        return [*self.ours, *self.peers]


def _tuple(result: Tensor | tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return result if isinstance(result, tuple) else (result,)


def _laid_out(tensors: Sequence[Tensor], device: torch.device, layout: torch.memory_format) -> tuple[Tensor, ...]:
    copies = []
    for tensor in tensors:
        copy = tensor.detach().to(device, copy=True)
        if tensor.dim() == 4:
            copy = copy.contiguous(memory_format=layout)
        copies.append(copy.requires_grad_(tensor.requires_grad))
    return tuple(copies)


def _gradients(
    outputs: tuple[Tensor, ...], inputs: tuple[Tensor, ...], cotangents: tuple[Tensor, ...]
) -> tuple[Tensor | None, ...]:
    wanted = [tensor for tensor in inputs if tensor.requires_grad]
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
        doubles = tuple(t.detach().double().requires_grad_(t.requires_grad) for t in self._inputs)
        outputs = _tuple(case.reference(*doubles))
        generator = torch.Generator().manual_seed(1)
        self._cotangents = tuple(torch.randn(y.shape, generator=generator).to(case.dtype) for y in outputs)
        self._outputs: tuple[Tensor | None, ...] = tuple(y.detach() for y in outputs)
        self._gradients: tuple[Tensor | None, ...] = ()
        if BACKWARD in case.modes:
            self._gradients = _gradients(outputs, doubles, tuple(t.double() for t in self._cotangents))

    def expected(self, mode: str) -> tuple[Tensor | None, ...]:
        """The float64 results: outputs, and in the second mode the gradients after them."""
        return self._outputs if mode == FORWARD else self._outputs + self._gradients

    def call(self, side: Side, mode: str) -> Call:
        """What is timed: no arguments, returns outputs (and gradients); inputs and cotangents in the side's layout."""
        function = torch.compile(side.function, dynamic=False) if side.compiled else side.function
        inputs = _laid_out(self._inputs, self.device, side.layout)
        if mode == FORWARD:

            def forward() -> tuple[Tensor | None, ...]:
                with torch.no_grad():
                    return _tuple(function(*inputs))

            return forward
        cotangents = _laid_out(self._cotangents, self.device, side.layout)

        def forward_backward() -> tuple[Tensor | None, ...]:
            outputs = _tuple(function(*inputs))
            return outputs + _gradients(outputs, inputs, cotangents)

        return forward_backward
