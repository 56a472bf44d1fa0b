"""conv2d: schemas, fake kernels, table of backends. The derivatives are those of a bilinear op."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from fastgan.ops import checks, resampling
from fastgan.ops.bilinear import define_bilinear_autograd
from fastgan.ops.define import define_autocast, define_op
from fastgan.ops.registry import OpTable

__all__ = ["ALGORITHMS", "conv2d", "output_size"]

#: auto takes Winograd's where that was measured to be faster, for each derivative by itself.
ALGORITHMS = ("auto", "winograd", "direct")

table = OpTable("conv2d", ("cpu", "reference"))


def output_size(input: Tensor, weight: Tensor, padding: list[int]) -> list[int]:
    """The output's shape."""
    sides = [s + 2 * p - 2 for s, p in zip(input.shape[2:], padding, strict=True)]
    return [input.shape[0], weight.shape[0], *sides]


def _check(name: str, input: Tensor, weight: Tensor, bias: Any, padding: list[int], algorithm: str) -> None:
    resampling.check_exact(name, input, weight, bias, padding, 1)
    if list(weight.shape[2:]) != [3, 3]:
        raise ValueError(f"{name}: weight must be [C_out, C_in, 3, 3], got {list(weight.shape)}")
    if max(padding) > 2:
        raise ValueError(f"{name}: padding must be at most 2, got {padding}")
    checks.check_choice(name, "algorithm", algorithm, ALGORITHMS)
    resampling.check_size(name, input, weight, padding, 1, 1)


def _check_forward(
    name: str, input: Tensor, weight: Tensor, bias: Tensor | None, padding: list[int], algorithm: str, _: Any
) -> None:
    _check(name, input, weight, bias, padding, algorithm)


def _check_backward(
    name: str,
    grad: Tensor,
    input: Tensor,
    weight: Tensor,
    padding: list[int],
    algorithm: str,
    wanted: list[bool],
    _: Any,
) -> None:
    _check(name, input, weight, None, padding, algorithm)
    resampling.check_backward(name, grad, input, weight, padding, 1, wanted, output_size)


def _fake_forward(
    input: Tensor, weight: Tensor, bias: Any, padding: list[int], _algorithm: str, _backend: Any
) -> Tensor:
    return resampling.empty_images(input, output_size(input, weight, padding), resampling.output_format(input, weight))


conv2d = define_op(
    table,
    "conv2d(Tensor input, Tensor weight, Tensor? bias, int[] padding, str algorithm, str? backend) -> Tensor",
    _fake_forward,
    _check_forward,
)
conv2d_backward = define_op(
    table,
    "conv2d_backward(Tensor grad_output, Tensor input, Tensor weight, int[] padding, str algorithm,"
    " bool[] wanted, str? backend) -> (Tensor grad_input, Tensor grad_weight)",
    resampling.fake_backward,
    _check_backward,
)
define_bilinear_autograd(conv2d, conv2d_backward)
define_autocast(conv2d, resampling.autocast)
