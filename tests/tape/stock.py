"""The stock penalised step, by double backward, and the comparison with it."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from fastgan.nn import PenalizedDiscriminator
from fastgan.penalties import Penalty

#: The contract's bound, relative to the norm of each gradient.
BOUND = 1e-10

LOSSES: dict[str, Callable[[Tensor], Tensor]] = {
    "softplus": lambda out: F.softplus(-out).mean(),
    "hinge": lambda out: F.relu(1 - out).mean(),
    "squares": lambda out: (out - 1).square().mean(),
    "wasserstein": lambda out: -out.mean(),
}


def of_all(loss: Callable[[Tensor], Tensor]) -> Callable[[Any], Tensor]:
    """The loss of every tensor in an output, added."""
    return lambda output: sum(map(loss, pytree.tree_leaves(output)), start=torch.zeros(()))


def chosen(output: Any, select: Any) -> list[Tensor]:
    if callable(select):
        output = select(output)
    elif select is not None:
        output = output[select]
    return pytree.tree_leaves(output)


def stock_step(
    net: nn.Module, x: Tensor, conditions: Sequence[Any], penalty: Penalty, loss: Callable[[Any], Tensor], select: Any
) -> list[Tensor | None]:
    """Output sum, penalty, gradient of x and of all parameters."""
    x = x.detach().requires_grad_()
    output = net(x, *conditions)
    (g,) = torch.autograd.grad(sum(t.sum() for t in chosen(output, select)), x, create_graph=True)
    value = penalty(g)
    grads = torch.autograd.grad(loss(output) + value, [x, *net.parameters()], allow_unused=True)
    return [sum(t.sum() for t in pytree.tree_leaves(output)), value, *grads]


def penalized_step(
    module: PenalizedDiscriminator, x: Tensor, conditions: Sequence[Any], loss: Callable[[Any], Tensor]
) -> list[Tensor | None]:
    x = x.detach().requires_grad_()
    output, value = module(x, *conditions)
    grads = torch.autograd.grad(loss(output) + value, [x, *module.parameters()], allow_unused=True)
    return [sum(t.sum() for t in pytree.tree_leaves(output)), value, *grads]


def assert_same(actual: Sequence[Tensor | None], expected: Sequence[Tensor | None], bound: float = BOUND) -> None:
    """Relative to the norm of each; an undefined gradient is one of zeros."""
    # A gradient that is zero but for rounding has no relative error.
    smallest = 1e-5 * max(e.norm().item() for e in expected if e is not None)
    for i, (a, e) in enumerate(zip(actual, expected, strict=True)):
        if e is None or a is None:
            assert all(each is None or not each.any() for each in (a, e)), f"tensor {i} is {a}, expected {e}"
            continue
        assert a.shape == e.shape
        error = ((a - e).norm() / e.norm().clamp_min(max(smallest, 1e-30))).item()
        assert error <= bound, f"tensor {i}: {error:.1e}"


def compare(
    net: nn.Module,
    x: Tensor,
    penalty: Penalty,
    loss: Callable[[Any], Tensor],
    conditions: Sequence[Any] = (),
    select: Any = None,
    path: str | None = None,
) -> PenalizedDiscriminator:
    """Compare one step of `net` with stock's, the state afterwards included."""
    twin = copy.deepcopy(net)
    module = PenalizedDiscriminator(net, penalty, select=select)
    state = torch.get_rng_state()
    actual = penalized_step(module, x, conditions, loss)
    torch.set_rng_state(state)
    expected = stock_step(twin, x, conditions, penalty, loss, select)
    assert_same(actual, expected)
    for a, e in zip(net.buffers(), twin.buffers(), strict=True):
        torch.testing.assert_close(a, e, rtol=BOUND, atol=0)
    if path is not None:
        assert module.explain()[penalty.points].path == path, module.explain()[penalty.points]
    return module
