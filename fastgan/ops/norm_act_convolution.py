"""Derivatives of an op that convolves what norm_act makes of its input.

Where one kernel does both, the activation in between is never written: the backward makes it again, in one pass, or has
a kernel for the weight's gradient that does so as it reads. The derivatives are those of the two ops.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from fastgan.ops.define import Op, define_autograd, will_run
from fastgan.ops.norm_act import norm_act, norm_act_backward
from fastgan.ops.resampling import sum_pool

__all__ = ["NORM_ACT", "define_norm_act_autograd"]

#: The first arguments of such an op; they are norm_act's, with other names for weight and bias.
NORM_ACT = (
    "Tensor input, Tensor? scale, Tensor? shift, Tensor? mean, Tensor? variance, str norm, str act, float alpha,"
    " float gain, float eps, str? group"
)
_NAMES = [argument.split()[1] for argument in NORM_ACT.split(", ")]
_NORMALISED, _OPTIONS = _NAMES[:5], _NAMES[5:]


def define_norm_act_autograd(op: Op, convolution_backward: Op, weight_gradient: Op | None = None) -> None:
    """Register the derivatives of an op, whose arguments are known by their names.

    ``op(NORM_ACT, weight, bias, ..., residual, ..., backend)`` returns output, statistics of it, the activation (empty
    where it was not written), and mean, variance and unbiased variance as norm_act does; only the output has a
    derivative.
    ``convolution_backward(grad_output, input, weight, ..., wanted, backend)`` has other arguments by `op`'s names.
    ``weight_gradient(grad_output, NORM_ACT, weight, ..., backend)`` is the second result of that for the activation,
    without a derivative of its own.
    """
    names, backward_names, gradient_names = (
        [] if each is None else [argument.name for argument in each.overload._schema.arguments]
        for each in (op, convolution_backward, weight_gradient)
    )

    def setup(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        given = dict(zip(names, inputs, strict=True))
        if given["norm"] in ("batch", "instance"):
            given["mean"], given["variance"] = output[3:5]
        ctx.save_for_backward(*(given.pop(name) for name in _NORMALISED), given["weight"], output[2])
        ctx.half = given["residual"] is not None and given["residual"].shape != output[0].shape
        ctx.others = {name: value for name, value in given.items() if name not in ("weight", "bias", "residual")}
        ctx.tensors = [name for name, x in zip(names, inputs, strict=True) if isinstance(x, Tensor)]
        ctx.mark_non_differentiable(*output[1:])

    def activation(ctx: Any) -> Tensor:
        """What the convolution has seen: saved, or made again; in a graph of its own where this is differentiated."""
        *normalised, _, written = ctx.saved_tensors
        norm, *rest, group = (ctx.others[name] for name in _OPTIONS)
        backend = ctx.others["backend"]
        if torch.is_grad_enabled() and any(x is not None and x.requires_grad for x in normalised):
            return norm_act.run(*normalised, norm, *rest, group, backend)[0]
        if written.shape == normalised[0].shape:
            return written
        # Its statistics are there: nobody takes part in gathering them.
        return norm_act.run(*normalised, "given", *rest, None, backend)[0]

    def through(ctx: Any, grad: Tensor, seen: Tensor, wanted: list[bool]) -> tuple[Tensor, Tensor]:
        """Gradients of what the convolution sees and of its weight."""
        # Its own activation is none.
        given = {**ctx.others, "grad_output": grad, "input": seen, "weight": ctx.saved_tensors[5], "wanted": wanted}
        given.update(gate=None, act="linear", alpha=0.0)
        return convolution_backward.run(*(given[name] for name in backward_names))

    def backward(ctx: Any, grad: Tensor, *_: None) -> tuple[Tensor | None, ...]:
        *normalised, weight, _ = ctx.saved_tensors
        needs = dict(zip(names, ctx.needs_input_grad[1:], strict=True))
        nodes = dict(zip(ctx.tensors, ctx.next_functions, strict=True))
        wants = {name: bool(need) and will_run(nodes[name][0]) for name, need in needs.items()}
        grads: dict[str, Tensor | None] = dict.fromkeys(names)
        of_input, of_weight = any(wants[name] for name in _NORMALISED[:3]), wants["weight"]
        if of_weight and weight_gradient is not None and not torch.is_grad_enabled():
            tensors = dict(zip(_NORMALISED, normalised, strict=True))
            given = {**ctx.others, **tensors, "grad_output": grad, "weight": weight}
            grads["weight"] = weight_gradient.run(*(given[name] for name in gradient_names))
            of_weight = False
        if of_input or of_weight:
            # The gradient of what the convolution sees does not depend on it.
            seen = activation(ctx) if of_weight else normalised[0]
            of_seen, grad_weight = through(ctx, grad, seen, [of_input, of_weight])
            if of_weight:
                grads["weight"] = grad_weight
            if of_input:
                options = [ctx.others[name] for name in _OPTIONS]
                affine = wants["scale"] or wants["shift"]
                first = norm_act_backward.run(of_seen, *normalised, *options, affine, ctx.others["backend"])
                grads.update((n, x) for n, x in zip(_NORMALISED[:3], first, strict=True) if wants[n])
        if wants["bias"]:
            grads["bias"] = grad.sum((0, 2, 3))
        if wants["residual"]:
            grads["residual"] = sum_pool(grad) if ctx.half else grad
        return tuple(grads.values())

    define_autograd(op, setup, backward)
