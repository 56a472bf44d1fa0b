"""upfirdn2d: schema, fake kernel, autograd formula, table of backends.

The op is linear in input, and its transpose is the op itself with up and down exchanged, the filter flipped and other
paddings. So its backward is a call of the op, and it is differentiable to any order. The filter is a constant.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor

from fastgan.ops.define import define_autocast, define_autograd, define_op
from fastgan.ops.registry import OpTable
from fastgan.ops.upfirdn2d.arguments import adjoint_padding, check, filter_size, new_output

__all__ = ["upfirdn2d"]

table = OpTable("upfirdn2d", ("cpu", "triton", "reference"))


def _check(name: str, input: Tensor, filter: Tensor | None, *rest: Any) -> None:
    check(name, input, filter, *rest[:4])


def _fake(input: Tensor, filter: Any, up: Any, down: Any, padding: Any, size: list[int], *_: Any) -> Tensor:
    return new_output(input, size)


#: `size` follows from the rest; saying it lets the op see a filter that is not the one its paddings were made for.
upfirdn2d = define_op(
    table,
    "upfirdn2d(Tensor input, Tensor? filter, int[] up, int[] down, SymInt[] padding, SymInt[] size, bool flip_filter,"
    " float gain, str? backend) -> Tensor",
    _fake,
    _check,
)


def _setup(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    input, filter, *ctx.arguments = inputs
    ctx.save_for_backward(filter)
    ctx.size = input.shape[2:]


def _backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor | None, ...]:
    (filter,) = ctx.saved_tensors
    up, down, padding, size, flip_filter, gain, backend = ctx.arguments
    padding = adjoint_padding(ctx.size, size, filter_size(filter), up, down, padding)
    grad = upfirdn2d.run(grad_output, filter, down, up, padding, list(ctx.size), not flip_filter, gain, backend)
    return grad, *(None,) * 8


define_autograd(upfirdn2d, _setup, _backward)


def _autocast(*args: Any) -> tuple[Any, ...]:
    return args  # in input's dtype, also where the reference calls a convolution


define_autocast(upfirdn2d, _autocast)
