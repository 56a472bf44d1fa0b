"""polar_factor: schema, fake kernel, autograd formula, table of backends.

The derivative of the nuclear norm is the polar factor, which the forward has made. Where that is differentiated in
turn, which no trainer needs, it is made again as a composition of torch's ops.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from fastgan.ops import checks
from fastgan.ops.define import define_autocast, define_autograd, define_op
from fastgan.ops.layout import accumulator
from fastgan.ops.polar_factor.quintics import FEWEST_STEPS
from fastgan.ops.polar_factor.reference import iterate
from fastgan.ops.registry import OpTable

__all__ = ["polar_factor"]

table = OpTable("polar_factor", ("triton", "reference"))


def _check(name: str, matrix: Tensor, steps: int, _: Any) -> None:
    checks.check_floating(name, "matrix", matrix)
    if matrix.dim() < 2 or matrix.shape[-1] != matrix.shape[-2]:
        raise ValueError(f"{name}: matrix must be [..., n, n], got {list(matrix.shape)}")
    if steps < FEWEST_STEPS:
        raise ValueError(f"{name}: steps must be at least {FEWEST_STEPS}, got {steps}")


def _fake(matrix: Tensor, *_: Any) -> tuple[Tensor, Tensor, Tensor]:
    batch, dtype = matrix.shape[:-2], accumulator(matrix.dtype)
    polar = matrix.new_empty(matrix.shape)
    return polar, matrix.new_empty(batch, dtype=dtype), matrix.new_empty(batch, dtype=dtype)


polar_factor = define_op(
    table,
    "polar_factor(Tensor matrix, int steps, str? backend) -> (Tensor polar, Tensor nuclear_norm, Tensor residual)",
    _fake,
    _check,
)


def _setup(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor, Tensor]) -> None:
    matrix, ctx.steps, _ = inputs
    polar, _, residual = output
    ctx.mark_non_differentiable(polar, residual)
    ctx.save_for_backward(matrix, polar)


def _backward(ctx: Any, _: None, grad_nuclear_norm: Tensor, __: None) -> tuple[Tensor | None, ...]:
    matrix, polar = ctx.saved_tensors
    if torch.is_grad_enabled():
        polar = iterate(matrix, ctx.steps)
    return (grad_nuclear_norm[..., None, None] * polar).to(matrix.dtype), None, None


define_autograd(polar_factor, _setup, _backward)
# An iteration whose every step squares the last one's rounding runs in its input's dtype.
define_autocast(polar_factor, lambda *args: args)
