"""norm_act: schemas, fake kernels, autograd formulas, table of backends.

y = gain·act(w (x - μ) r + b), with statistics of the batch, of each sample's channels, of each pixel, or given. The
forward saves its input and the statistics; the backward knows the activation's slope from them. Statistics are outputs
without derivatives: those of y are taken through them.

In training mode statistics come out as mean, variance and unbiased variance, which the caller may keep; the other
modes return empty tensors there. `group` names a process group whose members share the statistics of a batch.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from fastgan.ops import checks
from fastgan.ops.define import define_autocast, define_autograd, define_op
from fastgan.ops.norm_act.shapes import accumulator, statistics
from fastgan.ops.piecewise_linear import ACTIVATIONS
from fastgan.ops.registry import OpTable

__all__ = ["norm_act"]

table = OpTable("norm_act", ("cpu", "triton", "reference"))
NORMS = ("batch", "instance", "pixel", "given")

_TENSORS = "Tensor input, Tensor? weight, Tensor? bias, Tensor? mean, Tensor? variance"
_PARAMETERS = "str norm, str act, float alpha, float gain, float eps, str? group"


def _check_vector(
    name: str, argument: str, given: Tensor | None, input: Tensor, shapes: list[list[int]], dtypes: list[torch.dtype]
) -> None:
    if given is None:
        return
    if list(given.shape) not in shapes:
        expected = " or ".join(map(str, shapes))
        raise ValueError(
            f"{name}: {argument} must be {expected} to match input {list(input.shape)}, got {list(given.shape)}"
        )
    if given.dtype not in dtypes or given.device != input.device:
        expected = " or ".join(map(str, dict.fromkeys(dtypes)))
        raise ValueError(
            f"{name}: {argument} must be {expected} on {input.device}, got {given.dtype} on {given.device}"
        )


def _check(
    name: str,
    input: Tensor,
    parameters: dict[str, Tensor | None],
    mean: Tensor | None,
    variance: Tensor | None,
    norm: str,
    act: str,
) -> None:
    checks.check_floating(name, "input", input)
    checks.check_choice(name, "norm", norm, NORMS)
    checks.check_choice(name, "act", act, ACTIVATIONS)
    if input.dim() < 2:
        raise ValueError(f"{name}: input must be [N, C, ...], got {list(input.shape)}")
    n, channels = input.shape[:2]
    wide = accumulator(input.dtype)
    for argument, given in parameters.items():
        _check_vector(name, argument, given, input, [[channels], [n, channels]], [input.dtype, wide])
    if (mean is None) != (variance is None):
        raise ValueError(f"{name}: mean and variance must be given together")
    shape = [n, channels] if norm == "instance" else [0] if norm == "pixel" else [channels]
    for argument, given in (("mean", mean), ("variance", variance)):
        _check_vector(name, argument, given, input, [shape], [wide])


def _check_forward(
    name: str, input: Tensor, weight: Any, bias: Any, mean: Any, variance: Any, norm: str, act: str, *rest: Any
) -> None:
    _check(name, input, {"weight": weight, "bias": bias}, mean, variance, norm, act)


def _check_backward(name: str, grad_output: Tensor, input: Tensor, *rest: Any) -> None:
    _check_forward(name, input, *rest)
    checks.check_alike(name, input=input, grad_output=grad_output)


def _check_double_backward(
    name: str,
    grad_output: Tensor,
    input: Tensor,
    weight: Any,
    bias: Any,
    mean: Any,
    variance: Any,
    grad_grad_input: Tensor | None,
    grad_grad_weight: Tensor | None,
    grad_grad_bias: Tensor | None,
    norm: str,
    act: str,
    *rest: Any,
) -> None:
    _check(name, input, {"weight": weight, "bias": bias}, mean, variance, norm, act)
    checks.check_alike(name, input=input, grad_output=grad_output)
    if grad_grad_input is not None:
        checks.check_alike(name, input=input, grad_grad_input=grad_grad_input)
    pairs = {"weight": (weight, grad_grad_weight), "bias": (bias, grad_grad_bias)}
    for argument, (parameter, cotangent) in pairs.items():
        if cotangent is not None and parameter is None:
            raise ValueError(f"{name}: grad_grad_{argument} must be None where there is no {argument}")
        if cotangent is not None and parameter is not None:
            checks.check_alike(name, **{argument: parameter, f"grad_grad_{argument}": cotangent})


def _fake_forward(
    input: Tensor, weight: Any, bias: Any, mean: Any, variance: Any, norm: str, *_: Any
) -> tuple[Tensor, ...]:
    return torch.empty_like(input), *statistics(input, norm)


def _fake_backward(grad_output: Tensor, input: Tensor, weight: Any, bias: Any, *rest: Any) -> tuple[Tensor, ...]:
    wanted = [p if rest[-2] else None for p in (weight, bias)]
    return torch.empty_like(input), *(input.new_empty(0) if p is None else torch.empty_like(p) for p in wanted)


def _parts(grad_grad_input: Any, grad_grad_weight: Any, weight: Any, norm: str) -> tuple[bool, bool]:
    """Whether the backward's results depend on input, for such cotangents, and on weight."""
    by_input = grad_grad_weight is not None or (grad_grad_input is not None and norm != "given")
    return by_input, grad_grad_input is not None and weight is not None


def _fake_double_backward(
    grad_output: Tensor, input: Tensor, weight: Any, bias: Any, mean: Any, variance: Any, *rest: Any
) -> tuple[Tensor, ...]:
    by_input, by_weight = _parts(rest[0], rest[1], weight, rest[3])
    empty = input.new_empty(0, dtype=accumulator(input.dtype))
    return (
        torch.empty_like(input),
        torch.empty_like(input) if by_input else empty,
        torch.empty_like(weight) if by_weight else torch.empty_like(empty),
    )


norm_act = define_op(
    table,
    f"norm_act({_TENSORS}, {_PARAMETERS}, str? backend)"
    " -> (Tensor output, Tensor mean, Tensor variance, Tensor unbiased)",
    _fake_forward,
    _check_forward,
)
norm_act_backward = define_op(
    table,
    f"norm_act_backward(Tensor grad_output, {_TENSORS}, {_PARAMETERS}, bool parameter_grads, str? backend)"
    " -> (Tensor grad_input, Tensor grad_weight, Tensor grad_bias)",
    _fake_backward,
    _check_backward,
)
norm_act_double_backward = define_op(
    table,
    f"norm_act_double_backward(Tensor grad_output, {_TENSORS}, Tensor? grad_grad_input, Tensor? grad_grad_weight,"
    f" Tensor? grad_grad_bias, {_PARAMETERS}, str? backend)"
    " -> (Tensor grad_grad_output, Tensor grad_input, Tensor grad_weight)",
    _fake_double_backward,
    _check_double_backward,
)


def _setup_forward(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    input, weight, bias, mean, variance, norm = inputs[:6]
    if norm in ("batch", "instance"):
        mean, variance = output[1:3]
    ctx.save_for_backward(input, weight, bias, mean, variance)
    ctx.arguments = inputs[5:]
    ctx.mark_non_differentiable(*output[1:])


def _backward(ctx: Any, grad_output: Tensor, *_: None) -> tuple[Tensor | None, ...]:
    *parameters, backend = ctx.arguments
    wants_input, wants_weight, wants_bias = ctx.needs_input_grad[1:4]
    grads = norm_act_backward.run(grad_output, *ctx.saved_tensors, *parameters, wants_weight or wants_bias, backend)
    wanted = (wants_input, wants_weight, wants_bias)
    return (*(grad if wants else None for grad, wants in zip(grads, wanted, strict=True)), *(None,) * 9)


def _setup_backward(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    ctx.save_for_backward(*inputs[:6])
    *ctx.parameters, parameter_grads, ctx.backend = inputs[6:]
    weight, bias = inputs[2:4]
    wanted = [parameter_grads and p is not None for p in (weight, bias)]
    ctx.mark_non_differentiable(*(grad for grad, is_wanted in zip(output[1:], wanted, strict=True) if not is_wanted))


def _double_backward(ctx: Any, *cotangents: Tensor | None) -> tuple[Tensor | None, ...]:
    saved = ctx.saved_tensors
    grads = norm_act_double_backward.run(*saved, *cotangents, *ctx.parameters, ctx.backend)
    # Neither is a tensor of zeros: a penalty on the input's gradient through given statistics stops here.
    by_input, by_weight = _parts(cotangents[0], cotangents[1], saved[2], ctx.parameters[0])
    wanted = [w and d for w, d in zip(ctx.needs_input_grad[1:4], (True, by_input, by_weight), strict=True)]
    return (*(grad if wants else None for grad, wants in zip(grads, wanted, strict=True)), *(None,) * 11)


def _third(ctx: Any, *_: Tensor | None) -> tuple[Tensor | None, ...]:
    raise NotImplementedError(
        "norm_act: third derivatives are not implemented; "
        "fastgan.ops.norm_act.reference.norm_act is differentiable to any order"
    )


define_autograd(norm_act, _setup_forward, _backward)
define_autograd(norm_act_backward, _setup_backward, _double_backward)
define_autograd(norm_act_double_backward, lambda ctx, inputs, output: None, _third)


def _autocast(input: Tensor, weight: Tensor | None, bias: Tensor | None, *rest: Any) -> tuple[Any, ...]:
    # As torch's: in input's dtype, and parameters may stay in float32. One that a linear layer has made may be half.
    wide = accumulator(input.dtype)
    allowed = (input.dtype, wide)
    return (input, *(p if p is None or p.dtype in allowed else p.to(wide) for p in (weight, bias)), *rest)


define_autocast(norm_act, _autocast)
