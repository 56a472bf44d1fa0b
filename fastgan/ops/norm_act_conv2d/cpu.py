"""norm_act_conv2d on the CPU: Winograd's algorithm normalises and activates what it reads; else the two ops."""

from __future__ import annotations

import torch
from torch import Tensor

from fastgan.ops import resampling
from fastgan.ops.conv2d import winograd
from fastgan.ops.conv2d.choice import takes_winograd
from fastgan.ops.conv2d.cpu import conv2d, conv2d_backward, unsupported_reason
from fastgan.ops.norm_act.cpu import moments_of, norm_act
from fastgan.ops.norm_act_conv2d.composition import composition

__all__ = ["norm_act_conv2d", "norm_act_conv2d_weight_gradient", "unsupported_reason"]

_composed = composition(norm_act, conv2d, conv2d_backward)


def _prologue(
    mean: Tensor, variance: Tensor, scale: Tensor | None, shift: Tensor | None, act: str, alpha: float, gain: float,
    eps: float,
) -> winograd.Prologue:  # fmt: skip
    factor = torch.rsqrt(variance + eps)
    scale = factor if scale is None else factor * scale
    shift = torch.zeros_like(mean) if shift is None else shift
    below = {"linear": gain, "relu": 0.0}.get(act, gain * alpha)
    return winograd.Prologue(None, mean.contiguous(), scale.contiguous(), shift.contiguous(), gain, below)


def norm_act_conv2d(
    input: Tensor,
    scale: Tensor | None,
    shift: Tensor | None,
    mean: Tensor | None,
    variance: Tensor | None,
    norm: str,
    act: str,
    alpha: float,
    gain: float,
    eps: float,
    group: str | None,
    weight: Tensor,
    bias: Tensor | None,
    residual: Tensor | None,
    padding: list[int],
    algorithm: str,
    statistics: bool,
) -> tuple[Tensor, ...]:
    options = (act, alpha, gain, eps)
    convolved = (weight, bias, residual, padding, algorithm, statistics)
    normalises = norm == "batch" or (norm == "given" and mean is not None)
    if not (normalises and takes_winograd(algorithm, "forward", input, weight, padding)):
        return _composed.forward(input, scale, shift, mean, variance, norm, *options, group, *convolved)
    moments = moments_of(input, mean, variance, norm, group)
    if norm == "batch":
        mean, variance = moments[:2]
    assert mean is not None and variance is not None
    before = _prologue(mean, variance, scale, shift, *options)
    done = winograd.convolution(input, weight, padding, before, bias, residual, statistics)
    if done is None:
        given = (mean, variance, "given", *options, None)
        return *_composed.forward(input, scale, shift, *given, *convolved)[:3], *moments
    output, gathered = done
    output = output.contiguous(memory_format=resampling.output_format(input, weight))
    return output, gathered, input.new_empty(0), *moments


def norm_act_conv2d_weight_gradient(
    grad_output: Tensor,
    input: Tensor,
    scale: Tensor | None,
    shift: Tensor | None,
    mean: Tensor | None,
    variance: Tensor | None,
    norm: str,
    act: str,
    alpha: float,
    gain: float,
    eps: float,
    group: str | None,
    weight: Tensor,
    padding: list[int],
    algorithm: str,
) -> Tensor:
    options = (act, alpha, gain, eps)
    result = None
    if takes_winograd(algorithm, "grad_weight", input, weight, padding) and mean is not None and variance is not None:
        before = _prologue(mean, variance, scale, shift, *options)
        result = winograd.grad_weight(grad_output, input, weight, padding, before)
    if result is None:
        given = (scale, shift, mean, variance, norm, *options, group)
        result = _composed.weight_gradient(grad_output, input, *given, weight, padding, algorithm)
    return result
