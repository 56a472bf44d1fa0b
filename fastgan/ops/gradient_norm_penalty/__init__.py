"""gradient_norm_penalty: schemas, fake kernels, autograd formulas, table of backends.

The penalty is a sum over samples of h(r_n), with r_n the norm of sample n. Its derivative with respect to the sample is
h'(r_n) / r_n times the sample: this scale falls off where the norm is known, so the backward only multiplies. The
derivative of that, which a penalised training step does not need, is a composition of torch's ops.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from fastgan.ops.define import define_autocast, define_autograd, define_op
from fastgan.ops.gradient_norm_penalty.reference import gradient_norm_penalty_double_backward
from fastgan.ops.layout import accumulator
from fastgan.ops.registry import OpTable
from fastgan.ops.samples import check_number_tensor, check_samples

__all__ = ["gradient_norm_penalty"]

table = OpTable("gradient_norm_penalty", ("cpu", "triton", "reference"))

_PARAMETERS = "float weight, float? center, bool one_sided, str? backend"


def _check_forward(name: str, gradient: Tensor, weight: float, center: float | None, one_sided: bool, _: Any) -> None:
    check_samples(name, "gradient", gradient)
    if one_sided and center is None:
        raise ValueError(f"{name}: center must be a number where one_sided is True, got None")


def _check_backward(name: str, gradient: Tensor, scale: Tensor, grad_output: Tensor, *_: Any) -> None:
    check_samples(name, "gradient", gradient)
    check_number_tensor(name, "scale", scale, [gradient.shape[0]], gradient)
    check_number_tensor(name, "grad_output", grad_output, [], gradient)


def _fake_forward(gradient: Tensor, *_: Any) -> tuple[Tensor, Tensor]:
    dtype = accumulator(gradient.dtype)
    return gradient.new_empty((), dtype=dtype), gradient.new_empty(gradient.shape[0], dtype=dtype)


def _fake_backward(gradient: Tensor, *_: Any) -> Tensor:
    return torch.empty_like(gradient)


gradient_norm_penalty = define_op(
    table,
    f"gradient_norm_penalty(Tensor gradient, {_PARAMETERS}) -> (Tensor penalty, Tensor scale)",
    _fake_forward,
    _check_forward,
)
gradient_norm_penalty_backward = define_op(
    table,
    f"gradient_norm_penalty_backward(Tensor gradient, Tensor scale, Tensor grad_output, {_PARAMETERS}) -> Tensor",
    _fake_backward,
    _check_backward,
)


def _setup_forward(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    ctx.mark_non_differentiable(output[1])
    ctx.save_for_backward(inputs[0], output[1])
    ctx.parameters = inputs[1:]


def _backward(ctx: Any, grad_output: Tensor, _: Tensor | None) -> tuple[Tensor | None, ...]:
    gradient, scale = ctx.saved_tensors
    return gradient_norm_penalty_backward.run(gradient, scale, grad_output, *ctx.parameters), *(None,) * 4


def _setup_backward(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    ctx.save_for_backward(inputs[0], inputs[2])
    ctx.parameters = inputs[3:-1]


def _double_backward(ctx: Any, grad_grad: Tensor) -> tuple[Tensor | None, ...]:
    # The scale is a function of the gradient here, and no input of its own.
    gradient, grad_output = ctx.saved_tensors
    grad, of_output = gradient_norm_penalty_double_backward(grad_grad, gradient, grad_output, *ctx.parameters)
    wants_gradient, _, wants_output = ctx.needs_input_grad[1:4]
    return grad if wants_gradient else None, None, of_output if wants_output else None, *(None,) * 4


define_autograd(gradient_norm_penalty, _setup_forward, _backward)
define_autograd(gradient_norm_penalty_backward, _setup_backward, _double_backward)
# It sums half types in float32 whoever asks.
define_autocast(gradient_norm_penalty, lambda *args: args)
