"""Relu and leaky relu for what is left to autograd: torch's own add a pass over zeros to the double backward."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from fastgan.ops.bias_act import bias_act, bias_act_backward
from fastgan.ops.checks import FLOATING
from fastgan.ops.registry import current_backend

__all__ = ["Rectifier", "rectified", "rectifier"]


class Rectifier(NamedTuple):
    """A call of relu or leaky relu."""

    input: Tensor
    slope: float
    inplace: bool

    @property
    def act(self) -> str:
        """As :func:`fastgan.functional.bias_act` calls it."""
        return "lrelu" if self.slope else "relu"


def _relu(input: Tensor, inplace: bool = False) -> Rectifier:
    return Rectifier(input, 0.0, inplace)


def _relu_(input: Tensor) -> Rectifier:
    return Rectifier(input, 0.0, True)


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


class _InPlace(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, act: str, slope: float) -> Tensor:
        ctx.set_materialize_grads(False)
        ctx.arguments = (None, act, slope, 1.0, None, 0, False, current_backend())
        F.leaky_relu(x, slope, inplace=True) if slope else F.relu(x, inplace=True)
        ctx.mark_dirty(x)
        ctx.save_for_backward(x)
        return x

    @staticmethod
    def backward(ctx: Any, grad: Tensor | None) -> tuple[Tensor | None, None, None]:
        if grad is None:
            return None, None, None
        (output,) = ctx.saved_tensors
        return bias_act_backward.run(grad, output, *ctx.arguments)[0], None, None


def rectified(call: Rectifier, made: Callable[[], Tensor]) -> Tensor:
    """Make the call by ours, or by `made` where ours does not serve."""
    x, slope, inplace = call
    if type(x) is not Tensor or x.dtype not in FLOATING or not isinstance(slope, (int, float)):
        return made()
    if not inplace:
        return bias_act(x, None, call.act, float(slope), 1.0, None, 0, current_backend())
    # Views are written to by torch, which keeps their bases' graphs; negative slopes need the input, which is gone.
    return made() if x._is_view() or slope < 0 else _InPlace.apply(x, call.act, float(slope))
