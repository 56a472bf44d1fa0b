"""gate_by_bits, with sign_bits that makes its bits: schemas, fake kernels, autograd formulas, table of backends.

A bit for each element says whether it is above zero. Gating is linear, so that it is its own derivative's op, and the
bits have none.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from fastgan.ops import checks
from fastgan.ops.define import define_autocast, define_autograd, define_op
from fastgan.ops.gate_by_bits.order import memory_format
from fastgan.ops.registry import OpTable

__all__ = ["gate_by_bits", "sign_bits"]

table = OpTable("gate_by_bits", ("cpu", "triton", "reference"))


def _check_signs(name: str, input: Tensor, channels_last: bool, *_: Any) -> None:
    checks.check_floating(name, "input", input)
    if channels_last and input.dim() not in (4, 5):
        raise ValueError(f"{name}: input must have 4 or 5 dimensions for channels_last, got {list(input.shape)}")


def _check_gate(
    name: str, input: Tensor, bits: Tensor, alpha: float, gain: float, channels_last: bool, *_: Any
) -> None:
    _check_signs(name, input, channels_last)
    if bits.dtype != torch.uint8:
        raise TypeError(f"{name}: bits must be torch.uint8, got {bits.dtype}")
    length = (input.numel() + 7) // 8
    checks.check_length(name, "bits", bits, length, f"input {list(input.shape)}")
    if bits.device != input.device:
        raise ValueError(f"{name}: bits must be on input's device {input.device}, got {bits.device}")


def _fake_signs(input: Tensor, *_: Any) -> Tensor:
    return input.new_empty((input.numel() + 7) // 8, dtype=torch.uint8)


def _fake_gate(input: Tensor, bits: Tensor, alpha: float, gain: float, channels_last: bool, _: Any) -> Tensor:
    return torch.empty_like(input, memory_format=memory_format(input, channels_last))


sign_bits = define_op(
    table, "sign_bits(Tensor input, bool channels_last, str? backend) -> Tensor", _fake_signs, _check_signs
)
gate_by_bits = define_op(
    table,
    "gate_by_bits(Tensor input, Tensor bits, float alpha, float gain, bool channels_last, str? backend) -> Tensor",
    _fake_gate,
    _check_gate,
)


def _setup(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    ctx.save_for_backward(inputs[1])
    ctx.arguments = inputs[2:]


def _backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    (bits,) = ctx.saved_tensors
    return gate_by_bits.run(grad, bits, *ctx.arguments), *(None,) * 5


define_autograd(
    sign_bits,
    lambda ctx, inputs, output: ctx.mark_non_differentiable(output),
    lambda ctx, grad: (None,) * 3,
)
define_autograd(gate_by_bits, _setup, _backward)
for op in (sign_bits, gate_by_bits):  # in their input's dtype
    define_autocast(op, lambda *args: args)
