"""B, T and W of a part of the tape whose weights no other part uses."""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.graph import GradientEdge

from fastgan.tape.node import Node, Phi, Value

__all__ = ["Branch", "Terminal", "branches_of"]


@dataclass(eq=False)
class Terminal:
    """A value that leaves the tape.

    Attributes
    ----------
    value : Value
    tensor : Tensor or None
        On autograd's graph; dropped with it.
    seeded : bool
        Whether the penalty is about it.
    visible : bool
        Whether the loss can see it.
    """

    value: Value
    tensor: Tensor | None
    seeded: bool = False
    visible: bool = False


class Branch:
    """The nodes that lead to some terminals.

    Parameters
    ----------
    nodes : sequence of Node
        In order.
    terminals : sequence of Terminal
        At least one is seeded.

    Attributes
    ----------
    gradients : dict of Value to Tensor
        Of the sum of the seeded terminals with respect to each root.
    """

    def __init__(self, nodes: Sequence[Node], terminals: Sequence[Terminal]) -> None:
        self.terminals = list(terminals)
        self.weighted = [node for node in nodes if node.parameters]
        last = nodes.index(self.weighted[-1]) if self.weighted else -1
        self.nodes = list(nodes[: last + 1])
        outputs = {node.output for node in nodes}
        self.roots = list(dict.fromkeys(v for node in nodes for v in node.inputs if v not in outputs))
        self._last_use = {value: i for i, node in enumerate(self.nodes) for value in node.inputs}
        self.gradients: dict[Value, Tensor] = {}
        self._deltas: dict[Node, Tensor | None] = {}
        self.scaled_gradients: dict[Value, Tensor | None] = {}
        self._tangents: dict[Value, Tensor] = {}
        self._of_loss: dict[int, Tensor | None] = {}
        self._phi = Phi(None)
        self._scale: Tensor | None = None
        self._at = 0
        self._spent = False

    @property
    def shares_seed(self) -> bool:
        """Whether every loss's gradient is proportional to the penalty's seed, sample by sample."""
        (first, *others) = self.terminals
        return not others and first.value.shape.numel() == first.value.layout.samples

    def backpropagate(self, keep_graph: bool) -> None:
        """B: the gradients δ of all weighted nodes' outputs and of the roots, for unit seeds."""
        seeded = [terminal.tensor for terminal in self.terminals if terminal.seeded and terminal.tensor is not None]
        seeds = [torch.ones_like(tensor) for tensor in seeded]
        edges = [_edge(root) for root in self.roots]
        edges += [_edge(node.place or node.output) for node in self.weighted]
        keep_graph |= not self.shares_seed
        found = torch.autograd.grad(seeded, edges, seeds, retain_graph=keep_graph, allow_unused=True)
        for value, gradient in zip(self.roots, found, strict=False):
            self.gradients[value] = torch.zeros_like(value.alias) if gradient is None else gradient
        self._deltas = dict(zip(self.weighted, found[len(self.roots) :], strict=True))

    def begin(
        self, gradients: Sequence[Tensor | None], tangents: dict[Value, Tensor | None], wanted: Collection[Value]
    ) -> None:
        """Start T, for the loss's gradients of the terminals and the penalty's of the roots' gradients.

        The loss's own gradients are found of the `wanted` roots.
        """
        if self._spent:
            raise RuntimeError(
                "PenalizedDiscriminator: backward was called a second time, and the first one has freed what it needs; "
                "call the first with retain_graph=True"
            )
        factor, shared = self._factor(gradients)
        self._phi, self._at, self._of_loss, self._scale = Phi(factor if shared else None), 0, {}, None
        if shared:
            self.scaled_gradients = {
                root: None if factor is None else self._phi.times(gradient, root.layout, gradient.dim())
                for root, gradient in self.gradients.items()
                if root in wanted
            }
        else:
            self._backpropagate_loss(gradients, [root for root in self.roots if root in wanted])
        present = {root: tangent for root, tangent in tangents.items() if tangent is not None}
        if self._runs_in_float16:
            present = self._scaled_down(present)
        self._tangents = {root: self._start(root, present.get(root)) for root in self.roots}

    @property
    def _runs_in_float16(self) -> bool:
        roots = [root.source.dtype for root in self.roots if root.source is not None]
        return torch.float16 in roots or any(node.autocast is torch.float16 for node in self.nodes)

    def _scaled_down(self, tangents: dict[Value, Tensor]) -> dict[Value, Tensor]:
        """Divide T's start by its largest factor, as a loss scale would take it beyond float16; W multiplies again."""
        factors = [*tangents.values(), *([] if self._phi.per_sample is None else [self._phi.per_sample])]
        if not factors:
            return tangents
        largest = torch.stack([factor.detach().abs().amax().float() for factor in factors]).amax()
        self._scale = largest.clamp_min(torch.finfo(torch.float32).tiny)
        if self._phi.per_sample is not None:
            self._phi = Phi(self._phi.per_sample / self._scale)
        return {root: (tangent / self._scale).to(tangent.dtype) for root, tangent in tangents.items()}

    def _start(self, root: Value, tangent: Tensor | None) -> Tensor:
        source = root.source
        assert source is not None
        if source._version != root.version:
            raise _modified(source)
        scaled = self._phi.times(source.detach(), root.layout, source.dim())
        if scaled is None:
            return torch.zeros_like(source) if tangent is None else tangent
        return scaled if tangent is None else scaled + tangent

    def _factor(self, gradients: Sequence[Tensor | None]) -> tuple[Tensor | None, bool]:
        """φ', one number a sample, None for zero; and whether there is such a number."""
        if all(gradient is None for gradient in gradients):
            return None, True
        columns = []
        for terminal, gradient in zip(self.terminals, gradients, strict=True):
            if gradient is None and not terminal.seeded:
                continue
            if gradient is None or not terminal.seeded:
                return None, False  # zero for some of the outputs, or for an output that the penalty does not see
            columns.append(terminal.value.layout.per_sample(gradient))
        if len({len(column) for column in columns}) > 1:
            return None, False  # rows that are samples of one thing here and of another there
        factors = torch.cat(columns, 1) if len(columns) > 1 else columns[0]
        if factors.shape[1] == 1:
            return factors[:, 0], True
        if factors.device.type != "cpu":  # a comparison would wait for the device
            return None, False
        first = factors[:, :1]
        return (first[:, 0], True) if torch.equal(factors, first.expand_as(factors)) else (None, False)

    def _backpropagate_loss(self, gradients: Sequence[Tensor | None], roots: Sequence[Value]) -> None:
        """The backward pass of the loss, on autograd's graph, where it shares nothing with the penalty."""
        pairs = list(zip(self.terminals, gradients, strict=True))
        seen = [(t.tensor, g) for t, g in pairs if g is not None and t.tensor is not None]
        parameters = list({id(p): p for node in self.weighted for p in node.parameters}.values())
        edges = [_edge(root) for root in roots]
        inputs: list[Any] = [*edges, *parameters]
        if not inputs:
            return
        found = torch.autograd.grad(
            [tensor for tensor, _ in seen], inputs, [g for _, g in seen], retain_graph=True, allow_unused=True
        )
        self.scaled_gradients = dict(zip(roots, found, strict=False))
        self._of_loss = {id(p): g for p, g in zip(parameters, found[len(edges) :], strict=True)}

    def weight_gradients(self, node: Node) -> list[Tensor | None]:
        """T as far as `node`, and its W."""
        while True:
            current = self.nodes[self._at]
            wanted = self._deltas[node] if current is node else None
            gradients = self._advance(current, wanted)
            if current is node:
                break
        for i, parameter in enumerate(node.parameters):
            more = self._of_loss.pop(id(parameter), None)
            mine = gradients[i]
            if mine is not None and self._scale is not None:
                mine = (mine * self._scale).to(mine.dtype)
            gradients[i] = more if mine is None else mine if more is None else mine + more
        if self._at == len(self.nodes):
            self._finish()
        return gradients

    def _advance(self, node: Node, delta: Tensor | None) -> list[Tensor | None]:
        for constant, version in zip(node.constants, node.versions, strict=True):
            if constant._version != version:
                raise _modified(constant)
        inputs = [self._tangents[value] for value in node.inputs]
        with _autocasting(node, inputs[0].device.type):
            if delta is None:
                with torch.no_grad():
                    output = node.tangent(inputs, [constant.detach() for constant in node.constants], self._phi)
                gradients: list[Tensor | None] = [None] * len(node.parameters)
            elif node.weigh is not None and (node.place is not None or _of_one_dtype(node, inputs, delta)):
                with torch.no_grad():
                    constants = [constant.detach() for constant in node.constants]
                    found = node.weigh(inputs, delta, constants, self._phi)
                    gradients = [g for g, x in zip(found, node.constants, strict=True) if x.requires_grad]
                    output = node.tangent(inputs, constants, self._phi)
            else:
                output, gradients = self._with_weights(node, inputs, delta)
        self._tangents[node.output] = output
        for value in node.inputs:
            if self._last_use[value] == self._at:
                self._tangents.pop(value, None)
        self._at += 1
        return gradients

    def _with_weights(self, node: Node, inputs: Sequence[Tensor], delta: Tensor) -> tuple[Tensor, list[Tensor | None]]:
        with torch.enable_grad():
            constants = [x.detach().requires_grad_(x.requires_grad) for x in node.constants]
            output = node.tangent(inputs, constants, self._phi)
            parameters = [x for x in constants if x.requires_grad]
            if not output.requires_grad:
                return output, [None] * len(parameters)
            found = torch.autograd.grad(output, parameters, delta.to(output.dtype), allow_unused=True)
        return output.detach(), list(found)

    def _finish(self) -> None:
        self._tangents = {}
        if not torch._C._autograd._get_current_graph_task_keep_graph():
            self._spent = True
            self.nodes, self.weighted, self.terminals = [], [], []
            self._deltas, self.gradients, self.roots = {}, {}, []

    def release_graph(self) -> None:
        """Drop autograd's graph, unless the loss's own backward pass may need it."""
        if not self.shares_seed:
            return
        for node in self.nodes:  # the roots may be another branch's too, and hold nothing of the tape's own graph
            node.output.edge = None
            if node.place is not None:
                node.place.edge = None
        for terminal in self.terminals:
            terminal.value.edge = terminal.tensor = None


def _edge(value: Value) -> GradientEdge:
    assert value.edge is not None, "the graph has been released"
    return value.edge


def _modified(tensor: Tensor) -> RuntimeError:
    return RuntimeError(
        f"PenalizedDiscriminator: a tensor of shape {list(tensor.shape)} that is needed for the backward pass has been "
        "modified by an inplace operation"
    )


def _of_one_dtype(node: Node, inputs: Sequence[Tensor], delta: Tensor) -> bool:
    return node.autocast is None and {x.dtype for x in (*inputs, *node.constants)} == {delta.dtype}


def _autocasting(node: Node, device: str) -> contextlib.AbstractContextManager[object]:
    """As it was when the node was recorded."""
    if node.autocast is None and not torch.is_autocast_enabled(device):
        return contextlib.nullcontext()
    return torch.autocast(device, node.autocast, enabled=node.autocast is not None, cache_enabled=False)


def branches_of(nodes: Sequence[Node], terminals: Sequence[Terminal]) -> list[Branch]:
    """The parts of the tape that lead to seeded terminals; those that share weights are one."""
    groups: list[tuple[set[Node], list[Terminal]]] = []
    for terminal in terminals:
        ancestors, members = _ancestors(nodes, terminal.value), [terminal]
        for group in list(groups):
            if any(node.parameters for node in ancestors & group[0]):
                ancestors, members = ancestors | group[0], [*group[1], *members]
                groups.remove(group)
        groups.append((ancestors, members))
    return [
        Branch([node for node in nodes if node in ancestors], members)
        for ancestors, members in groups
        if any(terminal.seeded for terminal in members)
    ]


def _ancestors(nodes: Sequence[Node], value: Value) -> set[Node]:
    wanted, found = {value}, set()
    for node in reversed(nodes):
        if node.output in wanted:
            found.add(node)
            wanted.update(node.inputs)
    return found
