"""The tape as nodes of autograd's graph: one that gives outputs and gradients, and one for each layer's weights."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from fastgan.tape.branch import Branch
from fastgan.tape.node import Node, Value

__all__ = ["attach"]


class _Weights(torch.autograd.Function):
    """A layer's weights, whose gradients leave as soon as T has passed the layer.

    The token carries nothing: it makes T pass the layers in order.
    """

    @staticmethod
    def forward(ctx: Any, branch: Branch, node: Node, token: Tensor | None, *parameters: Tensor) -> Tensor:
        ctx.branch, ctx.node, ctx.is_last = branch, node, token is None
        return parameters[0].new_empty(0)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Any, ...]:
        return (None, None, None if ctx.is_last else grad, *ctx.branch.weight_gradients(ctx.node))


class _Outputs(torch.autograd.Function):
    """(sources of the tape) → (what the loss sees, gradients with respect to the sources)."""

    @staticmethod
    def forward(
        ctx: Any, branches: Sequence[Branch], roots: Sequence[Value], token: Tensor | None, *sources: Tensor
    ) -> tuple[Tensor, ...]:
        ctx.set_materialize_grads(False)
        ctx.branches, ctx.roots = branches, roots
        ctx.token = token is not None
        # No views, on which FSDP's hooks would be lost; and copies only where autograd's graph lives on.
        outputs = [
            terminal.tensor.data if branch.shares_seed else terminal.tensor.clone()
            for branch in branches
            for terminal in branch.terminals
            if terminal.visible and terminal.tensor is not None
        ]
        ctx.visible = [[terminal.visible for terminal in branch.terminals] for branch in branches]
        ctx.device = sources[0].device
        return (*outputs, *(_total([b.gradients.get(root) for b in branches], root) for root in roots))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Any, ...]:
        of_outputs = iter(grads[: len(grads) - len(ctx.roots)])
        tangents = dict(zip(ctx.roots, grads[len(grads) - len(ctx.roots) :], strict=True))
        wanted = {root for root, needed in zip(ctx.roots, ctx.needs_input_grad[3:], strict=True) if needed}
        for branch, visible in zip(ctx.branches, ctx.visible, strict=True):
            branch.begin([next(of_outputs) if seen else None for seen in visible], tangents, wanted)
        of_sources: list[Tensor | None] = []
        for root in ctx.roots:
            parts = [branch.scaled_gradients.get(root) for branch in ctx.branches]
            present = [part for part in parts if part is not None]
            of_sources.append(sum(present[1:], start=present[0]) if present else None)
        for branch in ctx.branches:
            branch.scaled_gradients = {}
        return (None, None, torch.empty(0, device=ctx.device) if ctx.token else None, *of_sources)


def _total(parts: Sequence[Tensor | None], root: Value) -> Tensor:
    present = [part for part in parts if part is not None]
    if not present:
        return torch.zeros_like(root.alias)  # type: ignore[arg-type]
    return sum(present[1:], start=present[0]) if len(present) > 1 else present[0].data


def attach(
    branches: Sequence[Branch], roots: Sequence[Value], sources: Sequence[Tensor]
) -> tuple[list[Tensor], list[Tensor]]:
    """What the loss sees of the branches, and the gradients of the seeded sums, as functions of the sources."""
    token = None
    for branch in reversed(branches):
        for node in reversed(branch.weighted):
            token = _Weights.apply(branch, node, token, *node.parameters)
    results = _Outputs.apply(branches, roots, token, *sources)
    results = list(results)
    n = len(results) - len(roots)
    return results[:n], results[n:]
