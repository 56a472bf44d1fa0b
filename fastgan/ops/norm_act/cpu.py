"""norm_act by the compiled CPU extension (csrc/cpu/norm_act.cpp)."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from fastgan.ops import native
from fastgan.ops.bias_act.activations import kernel_code
from fastgan.ops.layout import dense, match_layout
from fastgan.ops.norm_act.reference import norm_act_double_backward
from fastgan.ops.norm_act.shapes import accumulator, count, moments, parameter_gradient, statistics, synchronise

__all__ = ["norm_act", "norm_act_backward", "norm_act_double_backward", "unsupported_reason"]


def unsupported_reason(device_type: str, dtype: torch.dtype) -> str | None:
    if device_type != "cpu":
        return f"serves CPU tensors, not {device_type}"
    if dtype not in native.DTYPE_CODES:
        return f"does not serve {dtype}"
    return native.unavailable_reason()


def _laid_out(x: Tensor) -> tuple[Tensor, bool]:
    """The dense `x`, with its channels outermost or innermost in each sample, and whether they are innermost."""
    if x.dim() == 2:
        return x.contiguous(), True
    if x.dim() == 4 and x.is_contiguous(memory_format=torch.channels_last):
        return x, True
    if x.is_contiguous():
        return x, False
    return (x, True) if x.movedim(1, -1).is_contiguous() else (x.contiguous(), False)


class _Arguments:
    """What the extension is called with: sizes and parameters, which the object keeps alive."""

    def __init__(
        self,
        x: Tensor,
        channels_last: bool,
        weight: Tensor | None,
        bias: Tensor | None,
        mean: Tensor | None,
        variance: Tensor | None,
        act: str,
        alpha: float,
        gain: float,
        eps: float,
    ) -> None:
        wide = accumulator(x.dtype)
        self.tensors = [None if p is None else p.to(wide).contiguous() for p in (mean, variance, weight, bias)]
        by_sample = [p is not None and p.dim() == 2 for p in self.tensors]
        self.samples, self.channels = x.shape[:2]
        pixels = math.prod(x.shape[2:])
        if channels_last and not any(by_sample):  # one long sample
            self.samples, pixels = 1, self.samples * pixels
        extension = native.extension()
        mean_at, variance_at, weight_at, bias_at = (0 if p is None else p.data_ptr() for p in self.tensors)
        self.call = extension.NormActCall(
            native.DTYPE_CODES[x.dtype], kernel_code(act, 0.0), alpha, gain, eps,
            self.samples, self.channels, pixels, channels_last, torch.get_num_threads(),
        )  # fmt: skip
        self.parameters = extension.NormActParameters(
            mean_at, variance_at, by_sample[0], weight_at, by_sample[2], bias_at, by_sample[3]
        )


def _statistics(x: Tensor, channels_last: bool, norm: str) -> tuple[Tensor, Tensor, Tensor]:
    by_sample = norm == "instance"
    results = statistics(x, norm)
    samples, pixels = x.shape[0], math.prod(x.shape[2:])
    if channels_last and not by_sample:
        samples, pixels = 1, samples * pixels
    call: Any = native.extension().NormActCall(
        native.DTYPE_CODES[x.dtype], 0, 0.0, 1.0, 0.0,
        samples, x.shape[1], pixels, channels_last, torch.get_num_threads(),
    )  # fmt: skip
    native.extension().norm_act_statistics(call, x.data_ptr(), by_sample, *(r.data_ptr() for r in results))
    return results


def norm_act(
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
    results = statistics(x, norm)
    if norm in ("batch", "instance"):
        n = count(x, norm)
        if mean is None or variance is None:
            results = _statistics(x, channels_last, norm)
        else:
            results = mean.clone(), variance.clone(), variance * (n / max(n - 1, 1))
        if group is not None:
            results = synchronise(*results[:2], n if x.numel() else 0, group)
        mean, variance = results[:2]
    arguments = _Arguments(x, channels_last, weight, bias, mean, variance, act, alpha, gain, eps)
    run = native.extension().norm_act_pixel_forward if norm == "pixel" else native.extension().norm_act_forward
    run(arguments.call, arguments.parameters, x.data_ptr(), output.data_ptr())
    return match_layout(output, input), *results


def norm_act_backward(
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
    extension = native.extension()
    arguments = _Arguments(x, channels_last, weight, bias, mean, variance, act, alpha, gain, eps)
    addresses = arguments.call, arguments.parameters, dy.data_ptr(), x.data_ptr()
    sums = means = None
    if norm != "given" or (parameter_grads and not (weight is None and bias is None)):
        sums = x.new_empty((2, arguments.samples, arguments.channels), dtype=accumulator(x.dtype))
    if norm == "pixel":
        assert sums is not None
        extension.norm_act_pixel_backward(*addresses, grad_input.data_ptr(), sums.data_ptr())
    else:
        if sums is not None:
            extension.norm_act_sums(*addresses, sums.data_ptr())
        if sums is not None and norm != "given":
            means = moments(sums, arguments.tensors[2], x, norm, group)
        extension.norm_act_input_gradient(*addresses, 0 if means is None else means.data_ptr(), grad_input.data_ptr())
    parameters = [p if parameter_grads else None for p in (weight, bias)]
    return (
        match_layout(grad_input, input),
        *(parameter_gradient(None if sums is None else sums[i], p, x) for i, p in enumerate(parameters)),
    )
