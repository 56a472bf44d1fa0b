"""Relu and leaky relu for what is left to autograd: torch's own add a pass over zeros to the double backward."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from fastgan.ops.bias_act import bias_act_backward
from fastgan.ops.checks import FLOATING
from fastgan.ops.registry import current_backend

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
    def forward(ctx: Any, x: Tensor, slope: float | None, inplace: bool) -> Tensor:
        ctx.set_materialize_grads(False)
        act, alpha = ("relu", 0.0) if slope is None else ("lrelu", slope)
        ctx.arguments = (None, act, alpha, 1.0, None, 0, False, current_backend())
        y = F.relu(x, inplace) if slope is None else F.leaky_relu(x, slope, inplace)
        if inplace:
            ctx.mark_dirty(y)
        # What torch saves, either of which has the sign: what may be written to afterwards is the same as with torch.
        ctx.save_for_backward(y if slope is None or inplace else x)
        return y

    @staticmethod
    def backward(ctx: Any, grad: Tensor | None) -> tuple[Tensor | None, None, None]:
        if grad is None:
            return None, None, None
        (saved,) = ctx.saved_tensors
        return bias_act_backward.run(grad, saved, *ctx.arguments)[0], None, None


def rectified(call: Rectifier, made: Callable[[], Tensor]) -> Tensor:
    """Make the call by ours, or by `made` where ours does not serve."""
    x, slope, inplace = call
    known = type(x) is Tensor and x.dtype in FLOATING and (slope is None or isinstance(slope, (int, float)))
    # Views are written to by torch, which keeps their bases' graphs; negative slopes need the input, which is gone.
    if not known or (inplace and (x._is_view() or (slope or 0) < 0)):
        return made()
    return _Rectify.apply(x, None if slope is None else float(slope), inplace)
