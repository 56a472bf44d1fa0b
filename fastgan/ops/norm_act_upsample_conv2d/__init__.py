"""norm_act_upsample_conv2d: schema, fake kernel, autograd formula, table of backends.

The op is upsample_conv2d of norm_act of its input. Where one kernel does both, the activation in between is never
written: the backward makes it again, in one pass. Elsewhere the forward has written it, and returns it to be saved. The
derivatives are those of the two ops.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from fastgan.ops.define import define_autocast, define_autograd, define_op, will_run
from fastgan.ops.norm_act import autocast as norm_act_autocast
from fastgan.ops.norm_act import check, norm_act, norm_act_backward
from fastgan.ops.norm_act.shapes import statistics as empty_moments
from fastgan.ops.registry import OpTable
from fastgan.ops.upsample_conv2d import check_forward, fake_forward, upsample_conv2d_backward
from fastgan.ops.upsample_conv2d.triton_plan import takes_prologue

__all__ = ["norm_act_upsample_conv2d"]

table = OpTable("norm_act_upsample_conv2d", ("cpu", "triton", "reference"))

#: Arguments that are norm_act's, the input included; the others are upsample_conv2d's, but its input.
_NORM_ACT = 11


def _check(
    name: str, input: Tensor, scale: Any, shift: Any, mean: Any, variance: Any, norm: str, act: str, *rest: Any
) -> None:
    check(name, input, {"scale": scale, "shift": shift}, mean, variance, norm, act)
    check_forward(name, input, *rest[_NORM_ACT - 7 :])


def _fake(input: Tensor, *rest: Any) -> tuple[Tensor, ...]:
    norm, weight, padding, groups, backend = rest[4], rest[10], rest[12], rest[13], rest[-1]
    activation = torch.empty_like(input)
    output, statistics = fake_forward(activation, *rest[_NORM_ACT - 1 :])
    chosen = table.choose(backend, input.device.type, input.dtype, quiet=True)
    if chosen == "triton" and takes_prologue(input, weight, padding, groups, norm):
        activation = input.new_empty(0)
    return output, statistics, activation, *empty_moments(input, norm)


norm_act_upsample_conv2d = define_op(
    table,
    "norm_act_upsample_conv2d(Tensor input, Tensor? scale, Tensor? shift, Tensor? mean, Tensor? variance,"
    " str norm, str act, float alpha, float gain, float eps, str? group,"
    " Tensor weight, Tensor? bias, int[] padding, int groups, Tensor? residual, bool statistics, str? backend)"
    " -> (Tensor output, Tensor statistics, Tensor activation, Tensor mean, Tensor variance, Tensor unbiased)",
    _fake,
    _check,
)


def _setup(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    input, scale, shift, mean, variance, norm = inputs[:6]
    weight, _, ctx.padding, ctx.groups, _, _, ctx.backend = inputs[_NORM_ACT:]
    if norm in ("batch", "instance"):
        mean, variance = output[3:5]
    ctx.save_for_backward(input, scale, shift, mean, variance, weight, output[2])
    ctx.parameters = inputs[5:_NORM_ACT]
    ctx.tensors = [i for i, x in enumerate(inputs) if isinstance(x, Tensor)]
    ctx.mark_non_differentiable(*output[1:])


def _activation(ctx: Any) -> Tensor:
    """What the convolution has seen: saved, or made again; in a graph of its own where this is differentiated."""
    *normalised, _, activation = ctx.saved_tensors
    _norm, *rest, _group = ctx.parameters
    if torch.is_grad_enabled() and any(x is not None and x.requires_grad for x in normalised):
        return norm_act.run(*normalised, *ctx.parameters, ctx.backend)[0]
    if activation.shape == normalised[0].shape:
        return activation
    # Its statistics are there: nobody takes part in gathering them.
    return norm_act.run(*normalised, "given", *rest, None, ctx.backend)[0]


def _backward(ctx: Any, grad: Tensor, *_: None) -> tuple[Tensor | None, ...]:
    input, scale, shift, mean, variance, weight, _ = ctx.saved_tensors
    needs = ctx.needs_input_grad[1:]
    nodes = dict(zip(ctx.tensors, ctx.next_functions, strict=True))
    wants = [bool(need) and will_run(nodes[i][0]) for i, need in enumerate(needs)]
    grads: list[Tensor | None] = [None] * len(needs)
    normalised, of_weight = any(wants[:3]), wants[_NORM_ACT]
    if normalised or of_weight:
        # The gradient of what the convolution sees does not depend on it.
        seen = _activation(ctx) if of_weight else input
        of_seen, grad_weight = upsample_conv2d_backward.run(
            grad, seen, weight, ctx.padding, ctx.groups, [normalised, of_weight], ctx.backend
        )
        if of_weight:
            grads[_NORM_ACT] = grad_weight
        if normalised:
            first = norm_act_backward.run(
                of_seen, input, scale, shift, mean, variance, *ctx.parameters, wants[1] or wants[2], ctx.backend
            )
            grads[:3] = [x if want else None for x, want in zip(first, wants[:3], strict=True)]
    if wants[_NORM_ACT + 1]:
        grads[_NORM_ACT + 1] = grad.sum((0, 2, 3))
    if wants[_NORM_ACT + 4]:
        grads[_NORM_ACT + 4] = grad
    return tuple(grads)


define_autograd(norm_act_upsample_conv2d, _setup, _backward)


def _autocast(input: Tensor, *rest: Any) -> tuple[Any, ...]:
    # In input's dtype, which norm_act keeps; the function calls the two ops where that is not autocast's.
    *normalised, weight, bias, padding, groups, residual, statistics, backend = norm_act_autocast(input, *rest)
    weight, bias, residual = (None if x is None else x.to(input.dtype) for x in (weight, bias, residual))
    return (*normalised, weight, bias, padding, groups, residual, statistics, backend)


define_autocast(norm_act_upsample_conv2d, _autocast)
