"""One penalised call of a network."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from fastgan.tape.explanation import Explanation
from fastgan.tape.selection import Select, selected

__all__ = ["differentiate"]


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
    recorded = torch.is_grad_enabled()
    with torch.enable_grad():
        source = x.view_as(x) if x.requires_grad else x.detach().requires_grad_().view_as(x)
        output = function(source, *conditions)
        chosen = selected(name, output, select)
        total = sum_of(chosen)
        (gradient,) = torch.autograd.grad(total, source, create_graph=recorded, materialize_grads=True)
    return output, gradient, Explanation()


def sum_of(tensors: Sequence[Tensor]) -> Tensor:
    """The sum of all elements of all tensors, a scalar."""
    sums = [tensor.sum() for tensor in tensors]
    return sum(sums[1:], start=sums[0])
