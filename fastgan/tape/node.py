"""The tape's members: values that depend on the input, and the operations between them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.autograd.graph import GradientEdge

from fastgan.tape.layout import Layout

__all__ = ["Node", "Phi", "Tangent", "Value", "Weigh", "alias"]


def alias(x: Tensor) -> Tensor:
    """The same tensor at a place of its own in autograd's graph; unlike ``view_as`` it keeps all strides."""
    return torch.ops.aten.alias.default(x)


class Phi:
    """φ': by how much each sample's constants count in the tangent forward; nothing where the loss sees no output."""

    def __init__(self, per_sample: Tensor | None) -> None:
        self.per_sample = per_sample

    def times(self, constant: Tensor, layout: Layout, rank: int) -> Tensor | None:
        """A constant, in a shape that broadcasts against a value of the layout and rank, times φ'; None for zero."""
        if self.per_sample is None:
            return None
        spread = layout.spread(self.per_sample, rank)
        dtype = constant.dtype if constant.is_floating_point() else spread.dtype
        return constant * spread.to(constant.device, dtype)

    def add_(self, tangent: Tensor, constant: Tensor, layout: Layout) -> Tensor:
        """The same as :meth:`plus` in place."""
        scaled = self.times(constant, layout, tangent.dim())
        return tangent if scaled is None else tangent.add_(scaled)

    def plus(self, tangent: Tensor, constant: Tensor, layout: Layout) -> Tensor:
        """The tangent of a sum of something and a constant."""
        scaled = self.times(constant, layout, max(tangent.dim(), constant.dim()))
        return tangent if scaled is None else tangent + scaled


#: (tangents of the inputs, constants, φ') → tangent of the output: the operation with its choices frozen, so linear.
Tangent = Callable[[Sequence[Tensor], Sequence[Tensor], Phi], Tensor]
#: (tangents of the inputs, δ, constants, φ') → a gradient for each constant: what autograd would find in
#: the tangent's graph, without that graph.
Weigh = Callable[[Sequence[Tensor], Tensor, Sequence[Tensor], Phi], "list[Tensor | None]"]


@dataclass(eq=False)
class Value:
    """A tensor that depends on the input, at one moment: an in-place operation makes another value.

    Attributes
    ----------
    shape : torch.Size
    layout : Layout
    edge : GradientEdge or None
        Where autograd's graph has its gradient; dropped, and the graph with it, once that is known.
    source : Tensor or None
        Of what the tape begins with: the tensor that comes from before it.
    alias : Tensor or None
        What stands in for `source` on the tape.
    version : int
        Of `source`, to notice when it has been written to.
    """

    shape: torch.Size
    layout: Layout
    edge: GradientEdge | None
    source: Tensor | None = None
    alias: Tensor | None = None
    version: int = field(init=False)

    def __post_init__(self) -> None:
        self.version = 0 if self.source is None else self.source._version


@dataclass(eq=False)
class Node:
    """An operation that is linear in its inputs once its choices are frozen.

    Attributes
    ----------
    inputs : sequence of Value
    output : Value
    constants : sequence of Tensor
        What else it read: weights, biases, masks.
    tangent : Tangent
    autocast : torch.dtype or None
        The dtype of autocasting while it ran.
    weigh : Weigh or None
        Where autograd is not to find the weight gradients; without a `place` only for tensors of one dtype.
    place : Value or None
        Whose gradient `weigh` wants instead of the output's.
    versions : list of int
        Of the constants, to notice when one has been written to.
    """

    inputs: Sequence[Value]
    output: Value
    constants: Sequence[Tensor]
    tangent: Tangent
    autocast: torch.dtype | None = None
    weigh: Weigh | None = None
    place: Value | None = None
    versions: list[int] = field(init=False)

    def __post_init__(self) -> None:
        self.versions = [constant._version for constant in self.constants]

    @property
    def parameters(self) -> list[Tensor]:
        """The constants that have a gradient."""
        return [constant for constant in self.constants if constant.requires_grad]
