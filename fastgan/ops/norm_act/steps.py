"""The order of the steps of norm_act and of its backward, which all backends with kernels share."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from fastgan.ops.layout import dense, match_layout
from fastgan.ops.norm_act.shapes import accumulator, count, moments, parameter_gradient, statistics, synchronise

__all__ = ["Kernels", "View", "backward", "forward", "moments_of"]


@dataclass(frozen=True)
class View:
    """What a kernel sees: a tensor [samples, channels, pixels], its parameters, and what is done with it.

    Parameters are contiguous, of the accumulating dtype, [channels] or [samples, channels] each.
    """

    x: Tensor
    channels_last: bool  # in memory [samples, pixels, channels]
    samples: int
    channels: int
    pixels: int
    mean: Tensor | None = None
    variance: Tensor | None = None
    weight: Tensor | None = None
    bias: Tensor | None = None
    act: str = "linear"
    alpha: float = 0.0
    gain: float = 1.0
    eps: float = 0.0


@dataclass(frozen=True)
class Kernels:
    """The kernels of one backend. Tensors that they write are the arguments after the view's and the gradient's.

    With g the gradient by what the activation sees and x̂ the normalised input, `sums` are [2, samples, channels] of
    g x̂ and g, and `moments` means of weight g x̂ and of weight g, [2, channels] or [2, samples, channels].
    """

    statistics: Callable[[View, bool, tuple[Tensor, Tensor, Tensor]], None]  # whether of each sample
    forward: Callable[[View, Tensor], None]
    sums: Callable[[View, Tensor, Tensor], None]
    input_gradient: Callable[[View, Tensor, Tensor | None, Tensor], None]
    pixel_forward: Callable[[View, Tensor], None]
    pixel_backward: Callable[[View, Tensor, Tensor, Tensor], None]  # writes grad_input and sums


def _laid_out(x: Tensor) -> tuple[Tensor, bool]:
    """The dense `x` with its channels outermost or innermost in each sample, and whether they are innermost."""
    if x.dim() == 2:
        return x.contiguous(), True
    if x.dim() == 4 and x.is_contiguous(memory_format=torch.channels_last):
        return x, True
    if x.is_contiguous():
        return x, False
    return (x, True) if x.movedim(1, -1).is_contiguous() else (x.contiguous(), False)


def _view(
    x: Tensor,
    channels_last: bool,
    by_sample: bool,
    parameters: tuple[Tensor | None, ...] = (),
    *options: str | float,
) -> View:
    wide = accumulator(x.dtype)
    vectors = [None if p is None else p.to(wide).contiguous() for p in parameters]
    samples, channels = x.shape[:2]
    pixels = math.prod(x.shape[2:])
    if channels_last and not by_sample and all(p is None or p.dim() == 1 for p in vectors):  # one long sample
        samples, pixels = 1, samples * pixels
    return View(x, channels_last, samples, channels, pixels, *vectors, *options)  # type: ignore[arg-type]


def moments_of(
    kernels: Kernels, input: Tensor, mean: Tensor | None, variance: Tensor | None, norm: str, group: str | None
) -> tuple[Tensor, Tensor, Tensor]:
    """Mean, variance and unbiased variance of the input, or those given for it; empty where it has none of its own."""
    results = statistics(input, norm)
    if norm not in ("batch", "instance"):
        return results
    n = count(input, norm)
    if mean is None or variance is None:
        x, channels_last = _laid_out(dense(input))
        by_sample = norm == "instance"
        kernels.statistics(_view(x, channels_last, by_sample), by_sample, results)
    else:
        results = mean.clone(), variance.clone(), variance * (n / max(n - 1, 1))
    if group is not None:
        results = synchronise(*results[:2], n if input.numel() else 0, group)
    return results


def forward(
    kernels: Kernels,
    input: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    mean: Tensor | None,
    variance: Tensor | None,
    norm: str,
    act: str,
    alpha: float,
    gain: float,
    eps: float,
    group: str | None,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    input = dense(input)
    x, channels_last = _laid_out(input)
    output = torch.empty_like(x)
    results = moments_of(kernels, input, mean, variance, norm, group)
    if norm in ("batch", "instance"):
        mean, variance = results[:2]
    view = _view(x, channels_last, False, (mean, variance, weight, bias), act, alpha, gain, eps)
    (kernels.pixel_forward if norm == "pixel" else kernels.forward)(view, output)
    return match_layout(output, input), *results


def backward(
    kernels: Kernels,
    grad_output: Tensor,
    input: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    mean: Tensor | None,
    variance: Tensor | None,
    norm: str,
    act: str,
    alpha: float,
    gain: float,
    eps: float,
    group: str | None,
    parameter_grads: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    input = dense(input)
    x, channels_last = _laid_out(input)
    dy = match_layout(grad_output, x)
    grad_input = torch.empty_like(x)
    view = _view(x, channels_last, False, (mean, variance, weight, bias), act, alpha, gain, eps)
    wanted = [p if parameter_grads else None for p in (weight, bias)]
    sums = means = None
    if norm != "given" or any(p is not None for p in wanted):
        sums = x.new_empty((2, view.samples, view.channels), dtype=accumulator(x.dtype))
    if norm == "pixel":
        assert sums is not None
        kernels.pixel_backward(view, dy, grad_input, sums)
    else:
        if sums is not None:
            kernels.sums(view, dy, sums)
        if sums is not None and norm != "given":
            means = moments(sums, view.weight, x, norm, group)
        kernels.input_gradient(view, dy, means, grad_input)
    return (
        match_layout(grad_input, input),
        parameter_gradient(None if sums is None else sums[0], wanted[0], x),
        parameter_gradient(None if sums is None else sums[1], wanted[1], x),
    )
