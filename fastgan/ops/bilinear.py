"""Derivatives of an op that is linear in its input and linear in its weight, to any order, by the op and its backward.

With y = A(x, w), the backward op gives x̄ = Aˣ(g, w) and w̄ = Aʷ(g, x). Given cotangents x̃ of x̄ and w̃ of w̄, the
gradients of ⟨x̃, x̄⟩ + ⟨w̃, w̄⟩ = ⟨A(x̃, w) + A(x, w̃), g⟩ are A(x̃, w) + A(x, w̃) for g, Aˣ(g, w̃) for x and Aʷ(g, x̃)
for w.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor

from fastgan.ops.define import Op, define_autograd, will_run

__all__ = ["define_bilinear_autograd"]


def define_bilinear_autograd(op: Op, backward_op: Op) -> None:
    """Register the derivatives of two ops.

    ``op(input, weight, bias, padding, groups, residual, statistics, backend)`` returns the output, to which bias [C] is
    added along dimension 1 and a residual as it is, and, asked for by a bool, statistics of it without a derivative; an
    op may lack those two arguments. ``backward_op(grad, input,
    weight, padding, groups, wanted, backend)`` returns the gradients of input and weight, of which `wanted`, two bools,
    says which; the other is empty.
    """
    has_statistics = any(argument.name == "statistics" for argument in op.overload._schema.arguments)

    def run(*args: Any) -> Tensor:
        *given, backend = args
        return op.run(*given, None, False, backend)[0] if has_statistics else op.run(*args)

    def setup_forward(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        input, weight, _, *ctx.parameters = inputs[:5]
        ctx.backend = inputs[-1]
        ctx.save_for_backward(input, weight)
        if has_statistics:
            ctx.mark_non_differentiable(output[1])

    def backward(ctx: Any, grad: Tensor, *_: Tensor | None) -> tuple[Tensor | None, ...]:
        input, weight = ctx.saved_tensors
        needs = ctx.needs_input_grad[1:4]
        wanted = _wanted(ctx, needs[:2])
        grads: tuple[Tensor | None, ...] = (None, None)
        if any(wanted):
            both = backward_op.run(grad, input, weight, *ctx.parameters, wanted, ctx.backend)
            grads = tuple(x if want else None for x, want in zip(both, wanted, strict=True))
        grad_bias = grad.sum((0, 2, 3)) if needs[2] and will_run(ctx.next_functions[2][0]) else None
        rest = (grad if ctx.needs_input_grad[6] else None, None) if has_statistics else ()
        return (*grads, grad_bias, None, None, *rest, None)

    def setup_backward(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
        *tensors, wanted, ctx.backend = inputs
        ctx.save_for_backward(*tensors[:3])
        ctx.parameters = tensors[3:]
        ctx.mark_non_differentiable(*(x for x, want in zip(output, wanted, strict=True) if not want))

    def double_backward(ctx: Any, for_input: Tensor | None, for_weight: Tensor | None) -> tuple[Tensor | None, ...]:
        grad, input, weight = ctx.saved_tensors
        needs_grad, *needs = ctx.needs_input_grad[1:4]
        wanted = _wanted(ctx, (needs[0] and for_weight is not None, needs[1] and for_input is not None), first=1)
        terms = []
        if needs_grad and for_input is not None:
            terms.append(run(for_input, weight, None, *ctx.parameters, ctx.backend))
        if needs_grad and for_weight is not None:
            terms.append(run(input, for_weight, None, *ctx.parameters, ctx.backend))
        grads: list[Tensor | None] = [None, None]
        if wanted[0]:
            grads[0] = backward_op.run(grad, input, for_weight, *ctx.parameters, [True, False], ctx.backend)[0]
        if wanted[1]:
            grads[1] = backward_op.run(grad, for_input, weight, *ctx.parameters, [False, True], ctx.backend)[1]
        return (sum(terms[1:], terms[0]) if terms else None, *grads, *(None,) * 4)

    define_autograd(op, setup_forward, backward)
    define_autograd(backward_op, setup_backward, double_backward)


def _wanted(ctx: Any, needs: tuple[bool, ...], first: int = 0) -> list[bool]:
    return [bool(need) and will_run(ctx.next_functions[first + i][0]) for i, need in enumerate(needs)]
