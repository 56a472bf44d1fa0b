"""norm_act_upsample_conv2d: schema, fake kernel, table of backends; the derivatives are those of the two ops.

The op is upsample_conv2d of norm_act of its input. Where one kernel does both, the activation in between is never
written; elsewhere the forward returns it to be saved.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from fastgan.ops.define import define_autocast, define_op
from fastgan.ops.norm_act import autocast as norm_act_autocast
from fastgan.ops.norm_act import check
from fastgan.ops.norm_act.shapes import statistics as empty_moments
from fastgan.ops.norm_act_convolution import NORM_ACT, define_norm_act_autograd
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
    f"norm_act_upsample_conv2d({NORM_ACT},"
    " Tensor weight, Tensor? bias, int[] padding, int groups, Tensor? residual, bool statistics, str algorithm,"
    " str? backend)"
    " -> (Tensor output, Tensor statistics, Tensor activation, Tensor mean, Tensor variance, Tensor unbiased)",
    _fake,
    _check,
)


define_norm_act_autograd(norm_act_upsample_conv2d, upsample_conv2d_backward)


def _autocast(input: Tensor, *rest: Any) -> tuple[Any, ...]:
    # In input's dtype, which norm_act keeps; the function calls the two ops where that is not autocast's.
    *normalised, weight, bias, padding, groups, residual, statistics, algorithm, backend = norm_act_autocast(
        input, *rest
    )
    weight, bias, residual = (None if x is None else x.to(input.dtype) for x in (weight, bias, residual))
    return (*normalised, weight, bias, padding, groups, residual, statistics, algorithm, backend)


define_autocast(norm_act_upsample_conv2d, _autocast)
