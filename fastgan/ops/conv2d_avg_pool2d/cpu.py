"""conv2d_avg_pool2d on the CPU: by Winograd's algorithm in float32, where it is asked for or faster.

Else our box filter, and torch's strided convolution.
"""

from __future__ import annotations

import torch
from torch import Tensor

from fastgan.ops import resampling
from fastgan.ops.box_filter2d.cpu import box, unsupported_reason
from fastgan.ops.conv2d.choice import Part
from fastgan.ops.conv2d.winograd import Prologue, images
from fastgan.ops.conv2d_avg_pool2d import forms
from fastgan.ops.piecewise_linear import gate_of
from fastgan.ops.upsample_conv2d import winograd
from fastgan.ops.upsample_conv2d.choice import takes_winograd

__all__ = ["conv2d_avg_pool2d", "conv2d_avg_pool2d_backward", "unsupported_reason"]

#: What each result is for the upsampled convolution that this one is the gradient of.
_PARTS: dict[Part, Part] = {"forward": "grad_input", "grad_input": "forward", "grad_weight": "grad_weight"}


def _takes_winograd(algorithm: str, part: Part, input: Tensor, weight: Tensor, padding: list[int], groups: int) -> bool:
    n, _, height, width = input.shape
    if height % 2 or width % 2:
        return False
    return takes_winograd(
        algorithm, _PARTS[part], input, weight, padding, groups, (n, height // 2, width // 2), weight.shape[:2]
    )


def conv2d_avg_pool2d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    gate: Tensor | None,
    act: str,
    alpha: float,
    padding: list[int],
    groups: int,
    algorithm: str,
) -> Tensor:
    if input.dtype == torch.float16:
        input, weight, bias, gate = resampling.widened(input, weight, bias, gate)
        return conv2d_avg_pool2d(input, weight, bias, gate, act, alpha, padding, groups, algorithm).half()
    output = None
    if _takes_winograd(algorithm, "forward", input, weight, padding, groups):
        seen = images(input)  # once, also where it is its own gate
        before = Prologue.of(gate_of(seen, gate, act), act, alpha)
        output = winograd.conv2d_avg_pool2d(seen, weight, bias, before)
    if output is None:
        form = forms.choose(input, weight, padding, groups)
        output = forms.forward(form, input, weight, bias, gate, act, alpha, padding, groups, box)
    return output.contiguous(memory_format=resampling.output_format(input, weight))


def conv2d_avg_pool2d_backward(
    grad_output: Tensor,
    input: Tensor,
    weight: Tensor,
    gate: Tensor | None,
    act: str,
    alpha: float,
    padding: list[int],
    groups: int,
    algorithm: str,
    wanted: list[bool],
) -> tuple[Tensor, Tensor]:
    if input.dtype == torch.float16:
        grad_output, input, weight, gate = resampling.widened(grad_output, input, weight, gate)
        wide = conv2d_avg_pool2d_backward(
            grad_output, input, weight, gate, act, alpha, padding, groups, algorithm, wanted
        )
        return wide[0].half(), wide[1].half()
    parts: tuple[Part, ...] = ("grad_input", "grad_weight")
    takes = [
        want and _takes_winograd(algorithm, part, input, weight, padding, groups)
        for want, part in zip(wanted, parts, strict=True)
    ]
    grads: list[Tensor | None] = [None, None]
    if any(takes):
        # Once, for both gradients and where the input is its own gate.
        grad = images(grad_output)
        seen = images(input) if takes[1] or act != "linear" else input
        before = Prologue.of(gate_of(seen, gate, act), act, alpha)
        if takes[0]:
            grads[0] = winograd.pooled_grad_input(grad, weight, before)
        if takes[1]:
            grads[1] = winograd.pooled_grad_weight(grad, seen, weight, before)
    missing = [want and grad is None for want, grad in zip(wanted, grads, strict=True)]
    if any(missing):
        form = forms.choose(input, weight, padding, groups)
        rest = forms.backward(form, grad_output, input, weight, gate, act, alpha, padding, groups, missing, box)
        grads = [r if m else g for r, g, m in zip(rest, grads, missing, strict=True)]
    return resampling.laid_out(grads, input, weight)
