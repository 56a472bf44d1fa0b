"""upsample_add: schema, fake kernel, autograd formula, table of backends."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from fastgan.ops import checks, resampling
from fastgan.ops.define import define_autocast, define_autograd, define_op
from fastgan.ops.layout import image_format
from fastgan.ops.registry import OpTable

__all__ = ["upsample_add"]

table = OpTable("upsample_add", ("cpu", "triton", "reference"))


def _check(name: str, input: Tensor, low: Tensor, *_: Any) -> None:
    for argument, tensor in (("input", input), ("low", low)):
        checks.check_floating(name, argument, tensor)
        checks.check_images(name, argument, tensor)
    n, c, h, w = low.shape
    if list(input.shape) != [n, c, 2 * h, 2 * w]:
        raise ValueError(
            f"{name}: input must be {[n, c, 2 * h, 2 * w]} to match low {[n, c, h, w]}, got {list(input.shape)}"
        )
    if low.dtype != input.dtype:
        raise TypeError(f"{name}: low must have input's dtype {input.dtype}, got {low.dtype}")
    if low.device != input.device:
        raise ValueError(f"{name}: low must be on input's device {input.device}, got {low.device}")


def _fake(input: Tensor, low: Tensor, statistics: bool, _backend: Any) -> tuple[Tensor, Tensor]:
    output = resampling.empty_images(input, list(input.shape), image_format(input))
    return output, resampling.empty_statistics(output, statistics)


upsample_add = define_op(
    table,
    "upsample_add(Tensor input, Tensor low, bool statistics, str? backend) -> (Tensor output, Tensor statistics)",
    _fake,
    _check,
)


def _setup(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    ctx.mark_non_differentiable(output[1])


def _backward(ctx: Any, grad: Tensor, _: Tensor | None) -> tuple[Tensor | None, ...]:
    wants_input, wants_low = ctx.needs_input_grad[1:3]
    return grad if wants_input else None, resampling.sum_pool(grad) if wants_low else None, None, None


define_autograd(upsample_add, _setup, _backward)


def _autocast(input: Tensor, low: Tensor, *rest: Any) -> tuple[Any, ...]:
    # An elementwise op runs in its input's dtype.
    return (input, low.to(input.dtype), *rest)


define_autocast(upsample_add, _autocast)
