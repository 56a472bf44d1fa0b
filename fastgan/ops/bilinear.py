"""Derivatives of an op that is linear in its input and linear in its weight, to any order, by the op and its backward.

With y = A(x, w), the backward op gives x̄ = Aˣ(g, w) and w̄ = Aʷ(g, x). Given cotangents x̃ of x̄ and w̃ of w̄, the
gradients of ⟨x̃, x̄⟩ + ⟨w̃, w̄⟩ = ⟨A(x̃, w) + A(x, w̃), g⟩ are A(x̃, w) + A(x, w̃) for g, Aˣ(g, w̃) for x and Aʷ(g, x̃)
for w.

The op may apply a piecewise linear activation to its input: A(s·x, w), with slopes s at a gate. Where the gate is x
itself, so it is in the derivatives by x.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor

from fastgan.ops.define import Op, define_autograd, will_run
from fastgan.ops.piecewise_linear import gate_of
from fastgan.ops.resampling import sum_pool

__all__ = ["define_bilinear_autograd"]


def define_bilinear_autograd(op: Op, backward_op: Op) -> None:
    """Register the derivatives of two ops, whose arguments are known by their names.

    ``op(input, weight, bias, ..., backend)`` returns the output, to which bias [C] is added along dimension 1 and a
    `residual`, if it has such an argument: as it is, or nearest-upsampled where it has half the output's size; and, if
    it has an argument `statistics`, and that is true, statistics of the output without a derivative.
    ``backward_op(grad_output, input, weight, ..., wanted, backend)`` returns the gradients of input and weight, of
    which `wanted`, two bools, says which; the other is empty. Its other arguments are arguments of `op`, among which
    may be `gate`, a tensor or None, with `act` and `alpha`.
    """
    names, backward_names = (
        [argument.name for argument in each.overload._schema.arguments] for each in (op, backward_op)
    )
    has_statistics, has_residual, has_gate = (name in names for name in ("statistics", "residual", "gate"))

    def slopes_at(input: Tensor, gate: Tensor | None, parameters: dict[str, Any]) -> Tensor | None:
        return gate_of(input, gate, parameters["act"]) if has_gate else None

    def run(input: Tensor, weight: Tensor, gate: Tensor | None, parameters: dict[str, Any]) -> Tensor:
        given = {**parameters, "input": input, "weight": weight, "gate": gate}
        output = op.run(*(given.get(name, False if name == "statistics" else None) for name in names))
        return output[0] if has_statistics else output

    def run_backward(
        grad: Tensor,
        input: Tensor,
        weight: Tensor,
        gate: Tensor | None,
        parameters: dict[str, Any],
        wanted: list[bool],
    ) -> tuple[Tensor | None, ...]:
        given = {
            **parameters,
            "grad_output": grad,
            "input": input,
            "weight": weight,
            "gate": gate,
            "wanted": wanted,
        }
        grads = backward_op.run(*(given[name] for name in backward_names))
        return tuple(x if want else None for x, want in zip(grads, wanted, strict=True))

    def setup_forward(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        given = dict(zip(names, inputs, strict=True))
        ctx.save_for_backward(given["input"], given["weight"], given.get("gate"))
        ctx.parameters = {name: given[name] for name in backward_names if name in given and name not in _TENSORS}
        if has_residual:
            result, residual = output[0] if has_statistics else output, given["residual"]
            ctx.half = residual is not None and residual.shape != result.shape
            # Among the nodes there is one for each tensor.
            ctx.residual_node = sum(isinstance(x, Tensor) for x in inputs[: names.index("residual")])
        if has_statistics:
            ctx.mark_non_differentiable(output[1])

    def backward(ctx: Any, grad: Tensor, *_: Tensor | None) -> tuple[Tensor | None, ...]:
        needs = ctx.needs_input_grad[1:4]
        wanted = _wanted(ctx, needs[:2])
        grads: tuple[Tensor | None, ...] = (None, None)
        if any(wanted):
            input, weight, gate = ctx.saved_tensors
            grads = run_backward(grad, input, weight, gate, ctx.parameters, wanted)
        grad_bias = grad.sum((0, 2, 3)) if needs[2] and will_run(ctx.next_functions[2][0]) else None
        rest: list[Tensor | None] = [None] * (len(names) - 3)
        wants_residual = has_residual and ctx.needs_input_grad[1 + names.index("residual")]
        if wants_residual and will_run(ctx.next_functions[ctx.residual_node][0]):
            rest[names.index("residual") - 3] = sum_pool(grad) if ctx.half else grad
        return (*grads, grad_bias, *rest)

    def setup_backward(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
        given = dict(zip(backward_names, inputs, strict=True))
        ctx.save_for_backward(given["grad_output"], given["input"], given["weight"], given.get("gate"))
        ctx.parameters = {name: given[name] for name in backward_names if name not in _TENSORS}
        ctx.mark_non_differentiable(*(x for x, want in zip(output, given["wanted"], strict=True) if not want))

    def double_backward(ctx: Any, for_input: Tensor | None, for_weight: Tensor | None) -> tuple[Tensor | None, ...]:
        grad, input, weight, gate = ctx.saved_tensors
        needs_grad, *needs = ctx.needs_input_grad[1:4]
        wanted = _wanted(ctx, (needs[0] and for_weight is not None, needs[1] and for_input is not None), first=1)
        slopes = slopes_at(input, gate, ctx.parameters)
        terms = []
        if needs_grad and for_input is not None:
            terms.append(run(for_input, weight, slopes, ctx.parameters))
        if needs_grad and for_weight is not None:
            terms.append(run(input, for_weight, gate, ctx.parameters))
        grads: list[Tensor | None] = [None, None]
        if wanted[0]:
            assert for_weight is not None
            grads[0] = run_backward(grad, input, for_weight, gate, ctx.parameters, [True, False])[0]
        if wanted[1]:
            assert for_input is not None
            grads[1] = run_backward(grad, for_input, weight, slopes, ctx.parameters, [False, True])[1]
        return (sum(terms[1:], terms[0]) if terms else None, *grads, *(None,) * (len(backward_names) - 3))

    define_autograd(op, setup_forward, backward)
    define_autograd(backward_op, setup_backward, double_backward)


#: What is not handed on as a parameter.
_TENSORS = ("grad_output", "input", "weight", "gate", "wanted")


def _wanted(ctx: Any, needs: tuple[bool, ...], first: int = 0) -> list[bool]:
    return [bool(need) and will_run(ctx.next_functions[first + i][0]) for i, need in enumerate(needs)]
