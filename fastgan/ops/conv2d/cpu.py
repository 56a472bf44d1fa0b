"""conv2d on the CPU: Winograd's algorithm in float32, where it is asked for or faster; else torch's convolution."""

from __future__ import annotations

from torch import Tensor

from fastgan.ops import resampling
from fastgan.ops.bias_act.cpu import unsupported_reason
from fastgan.ops.conv2d import reference as direct
from fastgan.ops.conv2d import winograd
from fastgan.ops.conv2d.choice import Part, takes_winograd
from fastgan.ops.piecewise_linear import gate_of

__all__ = ["conv2d", "conv2d_backward", "unsupported_reason"]


def conv2d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    gate: Tensor | None,
    act: str,
    alpha: float,
    residual: Tensor | None,
    padding: list[int],
    algorithm: str,
    statistics: bool,
) -> tuple[Tensor, Tensor]:
    if takes_winograd(algorithm, "forward", input, weight, padding):
        seen = winograd.images(input)  # once, also where it is its own gate
        before = winograd.Prologue.of(gate_of(seen, gate, act), act, alpha)
        done = winograd.convolution(seen, weight, padding, before, bias, residual, statistics)
        if done is not None:
            output, gathered = done
            return output.contiguous(memory_format=resampling.output_format(input, weight)), gathered
    return direct.conv2d(input, weight, bias, gate, act, alpha, residual, padding, algorithm, statistics)


def conv2d_backward(
    grad_output: Tensor,
    input: Tensor,
    weight: Tensor,
    gate: Tensor | None,
    act: str,
    alpha: float,
    padding: list[int],
    algorithm: str,
    wanted: list[bool],
) -> tuple[Tensor, Tensor]:
    parts: tuple[Part, ...] = ("grad_input", "grad_weight")
    takes = [
        want and takes_winograd(algorithm, part, input, weight, padding)
        for want, part in zip(wanted, parts, strict=True)
    ]
    grads: list[Tensor | None] = [None, None]
    if any(takes):
        # Once, for both gradients and where the input is its own gate.
        grad = winograd.images(grad_output)
        seen = winograd.images(input) if takes[1] or act != "linear" else input
        before = winograd.Prologue.of(gate_of(seen, gate, act), act, alpha)
        if takes[0]:
            grads[0] = winograd.grad_input(grad, weight, padding, before)
        if takes[1]:
            grads[1] = winograd.grad_weight(grad, seen, weight, padding, before)
    missing = [want and grad is None for want, grad in zip(wanted, grads, strict=True)]
    if any(missing):
        rest = direct.conv2d_backward(grad_output, input, weight, gate, act, alpha, padding, algorithm, missing)
        grads = [d if m else g for d, g, m in zip(rest, grads, missing, strict=True)]
    return resampling.laid_out(grads, input, weight)
