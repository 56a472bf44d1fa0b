"""Relu and leaky relu that keep bits: torch's own keep a tensor, and their double backward adds a pass over zeros."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from fastgan.ops.checks import FLOATING
from fastgan.tape.kinks import Kinks

__all__ = ["Rectifier", "rectified", "rectifier"]


class Rectifier(NamedTuple):
    """A call of relu or leaky relu; relu has no slope."""

    input: Tensor
    slope: float | None
    inplace: bool


def _relu(input: Tensor, inplace: bool = False) -> Rectifier:
    return Rectifier(input, None, inplace)


def _relu_(input: Tensor) -> Rectifier:
    return Rectifier(input, None, True)


def _leaky_relu(input: Tensor, negative_slope: float = 0.01, inplace: bool = False) -> Rectifier:
    return Rectifier(input, negative_slope, inplace)


def _leaky_relu_(input: Tensor, negative_slope: float = 0.01) -> Rectifier:
    return Rectifier(input, negative_slope, True)


_FORMS: dict[Any, Callable[..., Rectifier]] = {
    F.relu: _relu,
    torch.relu: _relu,
    torch.Tensor.relu: _relu,
    torch.relu_: _relu_,
    torch.Tensor.relu_: _relu_,
    F.leaky_relu: _leaky_relu,
    torch._C._nn.leaky_relu: _leaky_relu,
    torch._C._nn.leaky_relu_: _leaky_relu_,
}


def rectifier(function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Rectifier | None:
    """The call as one of a rectifier, None for what is none."""
    form = _FORMS.get(function)
    return None if form is None else form(*args, **kwargs)


class _Rectify(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, slope: float | None, inplace: bool, kinks: Kinks) -> Tensor:
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(kinks.bits)
        ctx.slope, ctx.order = slope or 0.0, kinks[1:]
        y = F.relu(x, inplace) if slope is None else F.leaky_relu(x, slope, inplace)
        if inplace:
            ctx.mark_dirty(y)
        return y

    @staticmethod
    def backward(ctx: Any, grad: Tensor | None) -> tuple[Tensor | None, ...]:
        return (None if grad is None else Kinks(*ctx.saved_tensors, *ctx.order).gate(grad, ctx.slope), None, None, None)


def rectified(call: Rectifier, made: Callable[[], Tensor], kinks: Kinks | None = None) -> Tensor:
    """Make the call by ours, or by `made` where ours does not serve; `kinks` are the input's, where they are known."""
    x, slope, inplace = call
    known = type(x) is Tensor and x.dtype in FLOATING and (slope is None or isinstance(slope, (int, float)))
    # Views are written to by torch, which keeps their bases' graphs. Checkpointing compares what is saved with what the
    # same call saves when it is made again, which then is torch's own.
    hooked = torch._C._autograd._top_saved_tensors_default_hooks(False) is not None
    if not known or hooked or (inplace and x._is_view()):
        return made()
    return _Rectify.apply(x, None if slope is None else float(slope), inplace, kinks or Kinks.of(x))
