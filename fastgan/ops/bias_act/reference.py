"""bias_act in plain torch: the fallback on every device, and the oracle the kernels are compared with.

:func:`bias_act` alone is differentiable to any order. The two functions after it are the formulas the
kernels implement, written on what the op saves.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from fastgan.ops.bias_act.activations import saves_input

__all__ = ["bias_act", "bias_act_backward", "bias_act_double_backward", "unsupported_reason"]

SELU_SCALE = 1.0507009873554804934193349852946
SELU_ALPHA = 1.6732632423543772848170429916717


def unsupported_reason(device_type: str, dtype: torch.dtype) -> str | None:
    return None


def _accumulate(x: Tensor) -> Tensor:
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x


def _bound(clamp: float | None, like: Tensor) -> Tensor:
    # Rounded to the output's dtype, so that a clamped output is recognised by its value. NaN compares false: no clamp.
    return like.new_full((), math.nan if clamp is None else clamp)


def _along(bias: Tensor, x: Tensor, dim: int) -> Tensor:
    return bias.reshape([-1 if i == dim else 1 for i in range(x.dim())])


def sum_except(x: Tensor, dim: int) -> Tensor:
    """Sum over every dimension but one."""
    others = [i for i in range(x.dim()) if i != dim]
    return x.sum(others) if others else x.clone()  # sum([]) would be the sum over all


def _pre_activation(input: Tensor, bias: Tensor | None, dim: int) -> Tensor:
    z = _accumulate(input)
    return z if bias is None else z + _along(_accumulate(bias), z, dim)


def _value(z: Tensor, act: str, alpha: float) -> Tensor:
    if act == "linear":
        return z
    if act == "lrelu":
        return F.leaky_relu(z, alpha)
    if act == "swish":
        return z * torch.sigmoid(z)
    if act == "softplus":
        return torch.logaddexp(z, torch.zeros_like(z))  # F.softplus is the identity above a threshold
    stock: dict[str, Callable[[Tensor], Tensor]] = {
        "relu": F.relu,
        "tanh": torch.tanh,
        "sigmoid": torch.sigmoid,
        "elu": F.elu,
        "selu": F.selu,
    }
    return stock[act](z)


def bias_act(
    input: Tensor, bias: Tensor | None, act: str, alpha: float, gain: float, clamp: float | None, dim: int
) -> Tensor:
    y = _value(_pre_activation(input, bias, dim), act, alpha) * gain
    if clamp is not None:
        bound = _accumulate(_bound(clamp, input))
        # torch.clamp passes the gradient at the bound itself; a saved output cannot tell that from beyond it.
        y = torch.where(y.abs() >= bound, bound * y.sign(), y)
    return torch.empty_like(input).copy_(y)  # input's strides, and never input itself


def _point(
    saved: Tensor, bias: Tensor | None, act: str, alpha: float, gain: float, clamp: float | None, dim: int
) -> tuple[Tensor, Tensor]:
    """Where the derivatives are taken, a = y / gain or z = x + b, and whether that is inside the clamp."""
    bound = _bound(clamp, saved)
    if saves_input(act, alpha):
        point = _pre_activation(saved, bias, dim)
        y = (_value(point, act, alpha) * gain).to(saved.dtype)
    else:
        point = _accumulate(saved) * (1 / gain if gain else 0.0)
        y = saved
    return point, ~(y.abs() >= bound)


def _slope(p: Tensor, act: str, alpha: float) -> Tensor:
    """Return d act(z)/dz as a function of a = act(z), of z itself for swish."""
    if act == "linear":
        return torch.ones_like(p)
    if act == "relu":
        return (p > 0).to(p.dtype)
    if act == "lrelu":
        return torch.where(p > 0, torch.ones_like(p), alpha)
    if act == "tanh":
        return 1 - p * p
    if act == "sigmoid":
        return p * (1 - p)
    if act == "elu":
        return torch.where(p > 0, torch.ones_like(p), p + 1)
    if act == "selu":
        return torch.where(p > 0, torch.full_like(p, SELU_SCALE), p + SELU_SCALE * SELU_ALPHA)
    if act == "softplus":
        return -torch.expm1(-p)
    s = torch.sigmoid(p)
    return s * (1 + p * (1 - s))


def _slope_derivative(p: Tensor, act: str) -> Tensor:
    """Return d slope/da as a function of a = act(z); for swish d slope/dz as a function of z."""
    if act == "tanh":
        return -2 * p
    if act == "sigmoid":
        return 1 - 2 * p
    if act in ("elu", "selu"):
        return (p <= 0).to(p.dtype)
    if act == "softplus":
        return torch.exp(-p)
    s = torch.sigmoid(p)
    return s * (1 - s) * (2 + p * (1 - 2 * s))


def bias_act_backward(
    grad_output: Tensor,
    saved: Tensor,
    bias: Tensor | None,
    act: str,
    alpha: float,
    gain: float,
    clamp: float | None,
    dim: int,
    bias_grad: bool,
) -> tuple[Tensor, Tensor]:
    point, inside = _point(saved, bias, act, alpha, gain, clamp, dim)
    grad = torch.where(inside, _accumulate(grad_output) * gain * _slope(point, act, alpha), 0.0)
    grad_bias = sum_except(grad, dim).to(saved.dtype) if bias_grad else saved.new_empty(0)
    grad_input = torch.empty_like(saved).copy_(grad)
    return grad_input, grad_bias


def bias_act_double_backward(
    grad_grad_input: Tensor,
    grad_output: Tensor,
    saved: Tensor,
    bias: Tensor | None,
    act: str,
    alpha: float,
    gain: float,
    clamp: float | None,
    dim: int,
) -> tuple[Tensor, Tensor]:
    point, inside = _point(saved, bias, act, alpha, gain, clamp, dim)
    cotangent = _accumulate(grad_grad_input)
    grad_grad_output = torch.where(inside, cotangent * gain * _slope(point, act, alpha), 0.0)
    # With respect to the output a gain cancels: d(gain·slope(y / gain))/dy = slope'(y / gain).
    factor = gain if saves_input(act, alpha) else 1.0
    curvature = cotangent * _accumulate(grad_output) * (factor * _slope_derivative(point, act))
    grad_saved = torch.where(inside, curvature, 0.0)
    return torch.empty_like(saved).copy_(grad_grad_output), torch.empty_like(saved).copy_(grad_saved)
