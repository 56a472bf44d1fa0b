"""bias_act: schemas, fake kernels, autograd formulas, table of backends.

With z = x + b the op computes y = clamp(gain·act(z), ±clamp). Its backward is an op of its own, and
so is the derivative of that; the piecewise linear activations need no third one. Derivatives are
taken from the output y where it determines them, so nothing is saved that the network does not keep
anyway, and the second derivative reaches x through y's own node, in the same pass as y's gradient.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from fastgan.ops import checks
from fastgan.ops.bias_act.activations import ACTIVATIONS, saves_input
from fastgan.ops.bias_act.reference import sum_except
from fastgan.ops.define import define_autocast, define_autograd, define_op
from fastgan.ops.registry import OpTable

__all__ = ["bias_act"]

table = OpTable("bias_act", ("cpu", "triton", "cuda", "reference"))

_PARAMETERS = "str act, float alpha, float gain, float? clamp, int dim"


def _check(name: str, tensors: dict[str, Tensor], bias: Tensor | None, act: str, dim: int) -> None:
    first, input = next(iter(tensors.items()))
    checks.check_floating(name, first, input)
    checks.check_alike(name, **tensors)
    checks.check_choice(name, "act", act, tuple(ACTIVATIONS))
    if input.dim() or dim:
        checks.check_dim(name, dim, input)
    if bias is not None:
        checks.check_length(name, "bias", bias, input.shape[dim], f"dimension {dim} of {first} {list(input.shape)}")
        if bias.dtype != input.dtype or bias.device != input.device:
            raise ValueError(f"{name}: bias must be {input.dtype} on {input.device}, got {bias.dtype} on {bias.device}")


def _check_forward(name: str, input: Tensor, bias: Tensor | None, act: str, *rest: Any) -> None:
    _check(name, {"input": input}, bias, act, rest[-2])


def _check_backward(name: str, grad: Tensor, saved: Tensor, bias: Tensor | None, act: str, *rest: Any) -> None:
    _check(name, {"saved": saved, "grad_output": grad}, bias, act, rest[-3])


def _check_double_backward(
    name: str, grad_grad: Tensor, grad: Tensor, saved: Tensor, bias: Tensor | None, act: str, *rest: Any
) -> None:
    _check(name, {"saved": saved, "grad_output": grad, "grad_grad_input": grad_grad}, bias, act, rest[-2])


def _fake_forward(input: Tensor, *_: Any) -> Tensor:
    return torch.empty_like(input)


def _fake_backward(grad_output: Tensor, saved: Tensor, bias: Any, *args: Any) -> tuple[Tensor, Tensor]:
    dim, bias_grad, _backend = args[-3:]
    return torch.empty_like(saved), saved.new_empty(saved.shape[dim] if bias_grad else 0)


def _fake_double_backward(
    grad_grad_input: Tensor, grad_output: Tensor, saved: Tensor, *_: Any
) -> tuple[Tensor, Tensor]:
    return torch.empty_like(saved), torch.empty_like(saved)


bias_act = define_op(
    table,
    f"bias_act(Tensor input, Tensor? bias, {_PARAMETERS}, str? backend) -> Tensor",
    _fake_forward,
    _check_forward,
)
bias_act_backward = define_op(
    table,
    f"bias_act_backward(Tensor grad_output, Tensor saved, Tensor? bias, {_PARAMETERS}, bool bias_grad, str? backend)"
    " -> (Tensor grad_input, Tensor grad_bias)",
    _fake_backward,
    _check_backward,
)
bias_act_double_backward = define_op(
    table,
    f"bias_act_double_backward(Tensor grad_grad_input, Tensor grad_output, Tensor saved, Tensor? bias, {_PARAMETERS},"
    " str? backend) -> (Tensor grad_grad_output, Tensor grad_saved)",
    _fake_double_backward,
    _check_double_backward,
)


def _is_addition(act: str, gain: float, clamp: float | None) -> bool:
    return act == "linear" and gain == 1 and clamp is None


def _setup_forward(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    input, bias, act, alpha, gain, clamp = inputs[:6]
    if _is_addition(act, gain, clamp):
        ctx.save_for_backward(None, None)
    elif saves_input(act, alpha):
        ctx.save_for_backward(input, bias)
    else:
        ctx.save_for_backward(output, None)
    ctx.arguments = inputs[2:]


def _backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor | None, ...]:
    saved, bias = ctx.saved_tensors
    *parameters, backend = ctx.arguments
    wants_input, wants_bias = ctx.needs_input_grad[1:3]
    if saved is None:  # y = x + b: the gradient passes through, uncopied
        grad_bias = sum_except(grad_output, parameters[-1]) if wants_bias else None
        return (grad_output if wants_input else None, grad_bias, *(None,) * 6)
    grad_input, grad_bias = bias_act_backward.run(grad_output, saved, bias, *parameters, wants_bias, backend)
    return (grad_input if wants_input else None, grad_bias if wants_bias else None, *(None,) * 6)


def _setup_backward(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    ctx.save_for_backward(*inputs[:3])
    *ctx.parameters, bias_grad, ctx.backend = inputs[3:]
    if not bias_grad:
        ctx.mark_non_differentiable(output[1])


def _double_backward(
    ctx: Any, grad_grad_input: Tensor | None, grad_grad_bias: Tensor | None
) -> tuple[Tensor | None, ...]:
    grad_output, saved, bias = ctx.saved_tensors
    act, dim = ctx.parameters[0], ctx.parameters[-1]
    if grad_grad_bias is not None:
        along = grad_grad_bias.reshape([-1 if i == dim else 1 for i in range(saved.dim())])
        grad_grad_input = along.expand_as(saved) if grad_grad_input is None else grad_grad_input + along
    if ACTIVATIONS[act].piecewise_linear:
        # The slope does not depend on where it is taken: its derivative stays undefined, not zero.
        grad, _ = bias_act_backward.run(grad_grad_input, saved, bias, *ctx.parameters, False, ctx.backend)
        return grad, *(None,) * 9
    grad, grad_saved = bias_act_double_backward.run(
        grad_grad_input, grad_output, saved, bias, *ctx.parameters, ctx.backend
    )
    wants_saved, wants_bias = ctx.needs_input_grad[2:4]
    return (
        grad,
        grad_saved if wants_saved else None,
        sum_except(grad_saved, dim) if wants_bias else None,
        *(None,) * 7,
    )


def _third(ctx: Any, *_: Tensor | None) -> tuple[Tensor | None, ...]:
    raise NotImplementedError(
        "bias_act: third derivatives are not implemented; "
        "fastgan.ops.bias_act.reference.bias_act is differentiable to any order"
    )


define_autograd(bias_act, _setup_forward, _backward)
define_autograd(bias_act_backward, _setup_backward, _double_backward)
define_autograd(bias_act_double_backward, lambda ctx, inputs, output: None, _third)


def _autocast(input: Tensor, bias: Tensor | None, *rest: Any) -> tuple[Any, ...]:
    # An elementwise op runs in its input's dtype; the parameter follows.
    return (input, None if bias is None else bias.to(input.dtype), *rest)


define_autocast(bias_act, _autocast)
