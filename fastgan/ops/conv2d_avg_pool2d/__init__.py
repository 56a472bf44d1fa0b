"""conv2d_avg_pool2d: schemas, fake kernels, table of backends. The derivatives are those of a bilinear op.

y = pool(conv(act(x), w)) + b, or pool(conv(x act'(gate), w)) + b with a gate, which derivatives have.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor

from fastgan.ops import checks, resampling
from fastgan.ops.bilinear import define_bilinear_autograd
from fastgan.ops.conv2d_avg_pool2d.forms import output_size
from fastgan.ops.define import define_autocast, define_op
from fastgan.ops.piecewise_linear import ACTIVATIONS
from fastgan.ops.registry import OpTable

__all__ = ["conv2d_avg_pool2d"]

table = OpTable("conv2d_avg_pool2d", ("cpu", "triton", "reference"))


_PROLOGUE = "Tensor? gate, str act, float alpha"


def _check_prologue(name: str, input: Tensor, gate: Tensor | None, act: str) -> None:
    checks.check_choice(name, "act", act, ACTIVATIONS)
    if gate is not None:
        checks.check_alike(name, input=input, gate=gate)


def _check_forward(
    name: str,
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    gate: Tensor | None,
    act: str,
    alpha: float,
    padding: list[int],
    groups: int,
    *_: Any,
) -> None:
    resampling.check_exact(name, input, weight, bias, padding, groups)
    _check_prologue(name, input, gate, act)
    size = output_size(input, weight, padding)
    if min(input.shape[2:]) < 1 or min(size[2:]) < 1:
        raise ValueError(
            f"{name}: input must be large enough for the kernel {list(weight.shape[2:])} with padding {padding}, "
            f"got {list(input.shape)}"
        )


def _check_backward(
    name: str,
    grad: Tensor,
    input: Tensor,
    weight: Tensor,
    gate: Tensor | None,
    act: str,
    alpha: float,
    padding: list[int],
    groups: int,
    algorithm: str,
    wanted: list[bool],
    _: Any,
) -> None:
    _check_prologue(name, input, gate, act)
    resampling.check_backward(name, grad, input, weight, padding, groups, wanted, output_size)


def _fake_forward(
    input: Tensor, weight: Tensor, bias: Any, gate: Any, act: Any, alpha: Any, padding: list[int], *_: Any
) -> Tensor:
    size = output_size(input, weight, padding)
    return resampling.empty_images(input, size, resampling.output_format(input, weight))


conv2d_avg_pool2d = define_op(
    table,
    f"conv2d_avg_pool2d(Tensor input, Tensor weight, Tensor? bias, {_PROLOGUE}, int[] padding, int groups,"
    " str algorithm, str? backend) -> Tensor",
    _fake_forward,
    _check_forward,
)
conv2d_avg_pool2d_backward = define_op(
    table,
    f"conv2d_avg_pool2d_backward(Tensor grad_output, Tensor input, Tensor weight, {_PROLOGUE}, int[] padding,"
    " int groups, str algorithm, bool[] wanted, str? backend) -> (Tensor grad_input, Tensor grad_weight)",
    resampling.fake_backward,
    _check_backward,
)
define_bilinear_autograd(conv2d_avg_pool2d, conv2d_avg_pool2d_backward)
define_autocast(conv2d_avg_pool2d, resampling.autocast)
