"""conv2d: schemas, fake kernels, table of backends. The derivatives are those of a bilinear op.

y = conv(act(x), w) + b + residual, or conv(x act'(gate), w) + ... with a gate, which derivatives have.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor

from fastgan.ops import checks, resampling
from fastgan.ops.bilinear import define_bilinear_autograd
from fastgan.ops.define import define_autocast, define_op
from fastgan.ops.piecewise_linear import ACTIVATIONS
from fastgan.ops.registry import OpTable

__all__ = [
    "ALGORITHMS",
    "BACKENDS",
    "check_forward",
    "check_residual",
    "conv2d",
    "conv2d_backward",
    "fake_forward",
    "output_size",
]

#: auto takes Winograd's where that was measured to be faster, for each derivative by itself.
ALGORITHMS = ("auto", "winograd", "direct")

#: On GPUs the convolution is torch's.
BACKENDS = ("cpu", "reference")

table = OpTable("conv2d", BACKENDS)


def output_size(input: Tensor, weight: Tensor, padding: list[int]) -> list[int]:
    """The output's shape."""
    sides = [s + 2 * p - 2 for s, p in zip(input.shape[2:], padding, strict=True)]
    return [input.shape[0], weight.shape[0], *sides]


_PROLOGUE = "Tensor? gate, str act, float alpha"


def _check(
    name: str, input: Tensor, weight: Tensor, gate: Tensor | None, act: str, padding: list[int], algorithm: str
) -> None:
    if list(weight.shape[2:]) != [3, 3]:
        raise ValueError(f"{name}: weight must be [C_out, C_in, 3, 3], got {list(weight.shape)}")
    if max(padding) > 2:
        raise ValueError(f"{name}: padding must be at most 2, got {padding}")
    checks.check_choice(name, "algorithm", algorithm, ALGORITHMS)
    checks.check_choice(name, "act", act, ACTIVATIONS)
    if gate is not None:
        checks.check_alike(name, input=input, gate=gate)
    resampling.check_size(name, input, weight, padding, 1, 1)


def check_residual(name: str, residual: Tensor | None, input: Tensor, size: list[int]) -> None:
    """ValueError unless there is none, or one of the output's `size` or of half of it."""
    if residual is None:
        return
    n, c, height, width = size
    sizes = [size] + ([[n, c, height // 2, width // 2]] if height % 2 == width % 2 == 0 else [])
    if list(residual.shape) not in sizes or residual.dtype != input.dtype or residual.device != input.device:
        raise ValueError(
            f"{name}: residual must be {input.dtype} {' or '.join(map(str, sizes))} on {input.device}, "
            f"got {residual.dtype} {list(residual.shape)} on {residual.device}"
        )


def check_forward(
    name: str,
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    gate: Tensor | None,
    act: str,
    alpha: float,
    residual: Tensor | None,
    padding: list[int],
    algorithm: str,
    *_: Any,
) -> None:
    """Raise unless the arguments fit together."""
    resampling.check_exact(name, input, weight, bias, padding, 1)
    _check(name, input, weight, gate, act, padding, algorithm)
    check_residual(name, residual, input, output_size(input, weight, padding))


def _check_backward(
    name: str,
    grad: Tensor,
    input: Tensor,
    weight: Tensor,
    gate: Tensor | None,
    act: str,
    alpha: float,
    padding: list[int],
    algorithm: str,
    wanted: list[bool],
    _: Any,
) -> None:
    resampling.check_exact(name, input, weight, None, padding, 1)
    _check(name, input, weight, gate, act, padding, algorithm)
    resampling.check_backward(name, grad, input, weight, padding, 1, wanted, output_size)


def fake_forward(input: Tensor, weight: Tensor, padding: list[int], statistics: bool) -> tuple[Tensor, Tensor]:
    """Output and statistics, of no values."""
    size = output_size(input, weight, padding)
    output = resampling.empty_images(input, size, resampling.output_format(input, weight))
    return output, resampling.empty_statistics(output, statistics)


def _fake_forward(input: Tensor, weight: Tensor, *rest: Any) -> tuple[Tensor, Tensor]:
    *_, padding, _algorithm, statistics, _backend = rest
    return fake_forward(input, weight, padding, statistics)


conv2d = define_op(
    table,
    f"conv2d(Tensor input, Tensor weight, Tensor? bias, {_PROLOGUE}, Tensor? residual, int[] padding,"
    " str algorithm, bool statistics, str? backend) -> (Tensor output, Tensor statistics)",
    _fake_forward,
    check_forward,
)
conv2d_backward = define_op(
    table,
    f"conv2d_backward(Tensor grad_output, Tensor input, Tensor weight, {_PROLOGUE}, int[] padding, str algorithm,"
    " bool[] wanted, str? backend) -> (Tensor grad_input, Tensor grad_weight)",
    resampling.fake_backward,
    _check_backward,
)
define_bilinear_autograd(conv2d, conv2d_backward)
define_autocast(conv2d, resampling.autocast)
