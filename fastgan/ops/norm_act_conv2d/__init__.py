"""norm_act_conv2d: schemas, fake kernels, table of backends; the derivatives are those of the two ops.

The op is conv2d of norm_act of its input. The activation in between is never written where Winograd's algorithm reads
the input, and never returned.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor

from fastgan.ops import resampling
from fastgan.ops.conv2d import check_forward, conv2d_backward, fake_forward, output_size
from fastgan.ops.define import define_autocast, define_autograd, define_op
from fastgan.ops.layout import image_format
from fastgan.ops.norm_act import autocast as norm_act_autocast
from fastgan.ops.norm_act import check
from fastgan.ops.norm_act.shapes import statistics as empty_moments
from fastgan.ops.norm_act_convolution import NORM_ACT, define_norm_act_autograd
from fastgan.ops.registry import OpTable

__all__ = ["norm_act_conv2d"]

table = OpTable("norm_act_conv2d", ("cpu", "reference"))


def _check(
    name: str,
    input: Tensor,
    scale: Any,
    shift: Any,
    mean: Any,
    variance: Any,
    norm: str,
    act: str,
    alpha: float,
    gain: float,
    eps: float,
    group: Any,
    weight: Tensor,
    bias: Any,
    residual: Any,
    *rest: Any,
) -> None:
    check(name, input, {"scale": scale, "shift": shift}, mean, variance, norm, act)
    check_forward(name, input, weight, bias, None, "linear", 0.0, residual, *rest)


def _check_weight_gradient(name: str, grad: Tensor, input: Tensor, *rest: Any) -> None:
    *normalised, weight, padding, algorithm, _ = rest
    _check(name, input, *normalised, weight, None, None, padding, algorithm)
    resampling.check_backward(name, grad, input, weight, padding, 1, [False, True], output_size)


def _fake(input: Tensor, *rest: Any) -> tuple[Tensor, ...]:
    norm, weight, (padding, _, statistics, _) = rest[4], rest[10], rest[13:]
    return *fake_forward(input, weight, padding, statistics), input.new_empty(0), *empty_moments(input, norm)


def _fake_weight_gradient(grad: Tensor, *rest: Any) -> Tensor:
    weight = rest[11]
    return resampling.empty_images(weight, list(weight.shape), image_format(weight))


norm_act_conv2d = define_op(
    table,
    f"norm_act_conv2d({NORM_ACT}, Tensor weight, Tensor? bias, Tensor? residual, int[] padding, str algorithm,"
    " bool statistics, str? backend)"
    " -> (Tensor output, Tensor statistics, Tensor activation, Tensor mean, Tensor variance, Tensor unbiased)",
    _fake,
    _check,
)
norm_act_conv2d_weight_gradient = define_op(
    table,
    f"norm_act_conv2d_weight_gradient(Tensor grad_output, {NORM_ACT}, Tensor weight, int[] padding, str algorithm,"
    " str? backend) -> Tensor",
    _fake_weight_gradient,
    _check_weight_gradient,
)


def _second(ctx: Any, *_: Any) -> tuple[Tensor | None, ...]:
    raise NotImplementedError(
        "norm_act_conv2d_weight_gradient: has no derivative of its own; differentiate norm_act_conv2d with "
        "create_graph=True"
    )


define_autograd(norm_act_conv2d_weight_gradient, lambda ctx, inputs, output: None, _second)
define_norm_act_autograd(norm_act_conv2d, conv2d_backward, norm_act_conv2d_weight_gradient)


def _autocast(input: Tensor, *rest: Any) -> tuple[Any, ...]:
    # In input's dtype, which norm_act keeps; the function calls the two ops where that is not autocast's.
    *normalised, weight, bias, residual, padding, algorithm, statistics, backend = norm_act_autocast(input, *rest)
    weight, bias, residual = (None if x is None else x.to(input.dtype) for x in (weight, bias, residual))
    return (*normalised, weight, bias, residual, padding, algorithm, statistics, backend)


define_autocast(norm_act_conv2d, _autocast)
