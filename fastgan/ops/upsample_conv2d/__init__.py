"""upsample_conv2d: schemas, fake kernels, table of backends. The derivatives are those of a bilinear op."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from fastgan.ops import checks, resampling
from fastgan.ops.bilinear import define_bilinear_autograd
from fastgan.ops.conv2d import ALGORITHMS
from fastgan.ops.define import define_autocast, define_op
from fastgan.ops.registry import OpTable
from fastgan.ops.upsample_conv2d.forms import output_size

__all__ = ["check_forward", "fake_forward", "upsample_conv2d", "upsample_conv2d_backward"]

table = OpTable("upsample_conv2d", ("cpu", "triton", "reference"))


def check_forward(
    name: str,
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    padding: list[int],
    groups: int,
    residual: Tensor | None,
    _statistics: bool,
    algorithm: str,
    _backend: Any,
) -> None:
    """Raise unless the arguments fit together."""
    resampling.check_exact(name, input, weight, bias, padding, groups)
    checks.check_choice(name, "algorithm", algorithm, ALGORITHMS)
    size = output_size(input, weight, padding)
    if min(input.shape[2:]) < 1 or min(size[2:]) < 1:
        raise ValueError(
            f"{name}: input must be large enough for the kernel {list(weight.shape[2:])} with padding {padding}, "
            f"got {list(input.shape)}"
        )
    resampling.check_residual(name, residual, input, size)


def _check_backward(
    name: str,
    grad: Tensor,
    input: Tensor,
    weight: Tensor,
    padding: list[int],
    groups: int,
    algorithm: str,
    wanted: list[bool],
    _: Any,
) -> None:
    checks.check_choice(name, "algorithm", algorithm, ALGORITHMS)
    resampling.check_backward(name, grad, input, weight, padding, groups, wanted, output_size)


def fake_forward(
    input: Tensor, weight: Tensor, bias: Any, padding: list[int], groups: int, residual: Any, statistics: bool, *_: Any
) -> tuple[Tensor, Tensor]:
    """Output and statistics, of no values."""
    size = output_size(input, weight, padding)
    output = resampling.empty_images(input, size, resampling.output_format(input, weight))
    return output, resampling.empty_statistics(output, statistics)


upsample_conv2d = define_op(
    table,
    "upsample_conv2d(Tensor input, Tensor weight, Tensor? bias, int[] padding, int groups, Tensor? residual,"
    " bool statistics, str algorithm, str? backend) -> (Tensor output, Tensor statistics)",
    fake_forward,
    check_forward,
)
upsample_conv2d_backward = define_op(
    table,
    "upsample_conv2d_backward(Tensor grad_output, Tensor input, Tensor weight, int[] padding, int groups,"
    " str algorithm, bool[] wanted, str? backend) -> (Tensor grad_input, Tensor grad_weight)",
    resampling.fake_backward,
    _check_backward,
)
define_bilinear_autograd(upsample_conv2d, upsample_conv2d_backward)


def autocast(
    input: Tensor, weight: Tensor, bias: Any, padding: Any, groups: Any, residual: Tensor | None, *rest: Any
) -> tuple[Any, ...]:
    """The arguments in autocast's dtype."""
    cast = resampling.autocast(input, weight, bias, padding, groups)
    return (*cast, None if residual is None else residual.to(cast[0].dtype), *rest)


define_autocast(upsample_conv2d, autocast)
