"""One penalised call of a network."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from fastgan.tape.branch import Terminal, branches_of
from fastgan.tape.explanation import DOUBLE, FOUR, SIX, TAIL, Explanation, Step
from fastgan.tape.node import Value, alias
from fastgan.tape.passes import attach
from fastgan.tape.recorder import Recorder
from fastgan.tape.selection import Select, selected

__all__ = ["differentiate"]

#: What an output may be made of, in any nesting of torch's pytrees, for its tensors to be replaced.
_KNOWN_LEAVES = (Tensor, int, float, complex, str, bytes, torch.dtype, torch.device, type(None))


def differentiate(
    name: str, function: Callable[..., Any], x: Tensor, conditions: Sequence[Any] = (), select: Select = None
) -> tuple[Any, Tensor, Explanation]:
    """Call a function and take the gradient of its output's sum with respect to `x`.

    Parameters
    ----------
    name : str
        Of the public function, for errors.
    function : callable
        Of ``(x, *conditions)``.
    x : Tensor
        Samples ``[N, ...]``.
    conditions : sequence
    select : int, str or callable, optional
        Which part of the output.

    Returns
    -------
    output : Any
        What the function returned.
    gradient : Tensor
        Of x's shape. It and the output can be differentiated once, with respect to whatever the function used.
    explanation : Explanation
    """
    if not torch.is_grad_enabled():
        return _value_only(name, function, x, conditions, select)
    source = alias(x if x.requires_grad else x.detach().requires_grad_())
    recorder = Recorder(source)
    names = partial(_names, function)
    with _uncompiled(), recorder:
        output = function(source, *(source if condition is x else condition for condition in conditions))
        chosen = selected(name, output, select)
    terminals = _terminals(recorder, output, chosen)
    if terminals is None:
        (gradient,) = _gradient(chosen, source)
        return output, gradient, Explanation(DOUBLE, recorder.steps, names)
    output, gradient, path = _on_tape(recorder, x, source, output, terminals)
    return output, gradient, Explanation(path, recorder.steps, names)


def _value_only(
    name: str, function: Callable[..., Any], x: Tensor, conditions: Sequence[Any], select: Select
) -> tuple[Any, Tensor, Explanation]:
    """Without a graph, for calls under no_grad."""
    with torch.enable_grad(), _uncompiled():
        source = alias(x.detach().requires_grad_())
        output = function(source, *(source if condition is x else condition for condition in conditions))
        (gradient,) = _gradient(selected(name, output, select), source, create_graph=False)
    detached = pytree.tree_map(lambda leaf: leaf.detach() if isinstance(leaf, Tensor) else leaf, output)
    return detached, gradient, Explanation()


def _uncompiled() -> contextlib.AbstractContextManager[object]:
    """Run compiled parts as they were written: torch does not differentiate a compiled graph twice."""
    # Where nothing has loaded the compiler, nothing is compiled.
    return torch.compiler.set_stance("force_eager") if "torch._dynamo" in sys.modules else contextlib.nullcontext()


def _names(function: Callable[..., Any]) -> dict[int, str]:
    if not isinstance(function, nn.Module):
        return {}
    return {id(parameter): name for name, parameter in function.named_parameters()}


def _gradient(tensors: Sequence[Tensor], source: Tensor, create_graph: bool = True) -> tuple[Tensor, ...]:
    dependent = [tensor for tensor in tensors if tensor.requires_grad]
    if not dependent:
        return (torch.zeros_like(source),)
    seeds = [torch.ones_like(tensor) for tensor in dependent]
    return torch.autograd.grad(dependent, source, seeds, create_graph=create_graph, materialize_grads=True)


def _terminals(recorder: Recorder, output: Any, chosen: Sequence[Tensor]) -> list[Terminal] | None:
    """What leaves the tape; None where something that the penalty is about has not been on it."""
    leaves = pytree.tree_leaves(output)
    if not all(isinstance(leaf, _KNOWN_LEAVES) for leaf in leaves):
        recorder.cut(Step("return", reason="the output is of a class that cannot be taken apart"))
        return None
    found: dict[Value, Terminal] = {}
    for tensor in chosen:
        value = recorder.value(tensor)
        if value is None or value.source is not None:
            if recorder.depends(tensor):
                if recorder.nodes:
                    recorder.cut(Step("return", reason="made where it could not be seen, or before another output"))
                return None
            continue
        if value in found:  # counts twice
            recorder.cut(Step("return", reason="the same tensor is selected more than once"))
            return None
        found[value] = Terminal(value, tensor, seeded=True)
    if not found:
        return None
    for leaf in leaves:
        value = recorder.value(leaf)
        if value is not None and value.source is None:
            found.setdefault(value, Terminal(value, leaf)).visible = True
    return list(found.values())


def _on_tape(
    recorder: Recorder, x: Tensor, source: Tensor, output: Any, terminals: Sequence[Terminal]
) -> tuple[Any, Tensor, str]:
    branches = branches_of(recorder.nodes, terminals)
    roots = list(dict.fromkeys(root for branch in branches for root in branch.roots))
    leaves, structure = pytree.tree_flatten(output)
    values = [recorder.value(leaf) for leaf in leaves]
    visible = [terminal.value for branch in branches for terminal in branch.terminals if terminal.visible]
    taped = {terminal.value for terminal in terminals}
    shared_graph = len(terminals) > 1 or any(
        isinstance(leaf, Tensor) and value not in taped and recorder.depends(leaf)
        for leaf, value in zip(leaves, values, strict=True)
    )
    for branch in branches:
        branch.backpropagate(shared_graph)
    sources = [x if root.source is source else root.source for root in roots if root.source is not None]
    outputs, gradients = attach(branches, roots, sources)
    whole = [root.source is source for root in roots] == [True]
    path = (FOUR if all(branch.shares_seed for branch in branches) else SIX) if whole else TAIL
    for branch in branches:
        branch.release_graph()
    replaced = dict(zip(visible, outputs, strict=True))
    leaves = [leaf if value is None else replaced.get(value, leaf) for leaf, value in zip(leaves, values, strict=True)]
    if whole:
        gradient = gradients[0]
    else:
        heads = [root.source for root in roots if root.source is not None]
        (gradient,) = torch.autograd.grad(heads, source, gradients, create_graph=True, materialize_grads=True)
    return pytree.tree_unflatten(leaves, structure), gradient, path
