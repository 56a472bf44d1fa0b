"""interpolate_samples: schemas, fake kernels, autograd formulas, table of backends.

The op is linear in the two batches. Its backward scales a gradient for each of them, and the derivative of that is the
op again, or half of its backward where only one of the two is differentiated.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from fastgan.ops import checks
from fastgan.ops.define import define_autocast, define_autograd, define_op
from fastgan.ops.registry import OpTable
from fastgan.ops.samples import check_number_tensor, check_samples

__all__ = ["interpolate_samples"]

table = OpTable("interpolate_samples", ("cpu", "triton", "reference"))


def _check_forward(name: str, input: Tensor, other: Tensor, eps: Tensor, *_: Any) -> None:
    check_samples(name, "input", input)
    checks.check_alike(name, input=input, other=other)
    check_number_tensor(name, "eps", eps, [input.shape[0]], input)


def _check_backward(name: str, grad_output: Tensor, eps: Tensor, *_: Any) -> None:
    check_samples(name, "grad_output", grad_output)
    check_number_tensor(name, "eps", eps, [grad_output.shape[0]], grad_output)


def _fake_forward(input: Tensor, *_: Any) -> Tensor:
    return torch.empty_like(input)


def _fake_backward(grad_output: Tensor, eps: Any, of_input: bool, of_other: bool, _: Any) -> tuple[Tensor, Tensor]:
    input, other = (
        torch.empty_like(grad_output) if wanted else grad_output.new_empty(0) for wanted in (of_input, of_other)
    )
    return input, other


interpolate_samples = define_op(
    table,
    "interpolate_samples(Tensor input, Tensor other, Tensor eps, str? backend) -> Tensor",
    _fake_forward,
    _check_forward,
)
interpolate_samples_backward = define_op(
    table,
    "interpolate_samples_backward(Tensor grad_output, Tensor eps, bool of_input, bool of_other, str? backend)"
    " -> (Tensor grad_input, Tensor grad_other)",
    _fake_backward,
    _check_backward,
)


def _setup_forward(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    ctx.save_for_backward(inputs[2])
    ctx.backend = inputs[3]


def _backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor | None, ...]:
    (eps,) = ctx.saved_tensors
    wanted = ctx.needs_input_grad[1:3]
    grads = interpolate_samples_backward.run(grad_output, eps, *wanted, ctx.backend)
    grad_input, grad_other = (grad if is_wanted else None for grad, is_wanted in zip(grads, wanted, strict=True))
    return grad_input, grad_other, None, None


def _setup_backward(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    ctx.save_for_backward(inputs[1])
    ctx.backend = inputs[4]
    ctx.mark_non_differentiable(*(grad for grad, wanted in zip(output, inputs[2:4], strict=True) if not wanted))


def _double_backward(
    ctx: Any, grad_grad_input: Tensor | None, grad_grad_other: Tensor | None
) -> tuple[Tensor | None, ...]:
    (eps,) = ctx.saved_tensors
    if grad_grad_other is None:
        grad = interpolate_samples_backward.run(grad_grad_input, eps, True, False, ctx.backend)[0]
    elif grad_grad_input is None:
        grad = interpolate_samples_backward.run(grad_grad_other, eps, False, True, ctx.backend)[1]
    else:
        grad = interpolate_samples.run(grad_grad_input, grad_grad_other, eps, ctx.backend)
    return grad, *(None,) * 4


define_autograd(interpolate_samples, _setup_forward, _backward)
define_autograd(interpolate_samples_backward, _setup_backward, _double_backward)


def _autocast(input: Tensor, other: Tensor, *rest: Any) -> tuple[Any, ...]:
    # An elementwise op runs in its input's dtype.
    return (input, other.to(input.dtype), *rest)


define_autocast(interpolate_samples, _autocast)
