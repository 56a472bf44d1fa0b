"""conv2d on the CPU: Winograd's algorithm in float32, where it is asked for or faster; else torch's convolution."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from fastgan.ops import resampling
from fastgan.ops.bias_act.cpu import unsupported_reason
from fastgan.ops.conv2d import winograd
from fastgan.ops.conv2d.choice import Part, prefers_winograd

__all__ = ["conv2d", "conv2d_backward", "unsupported_reason"]


def _takes_winograd(algorithm: str, part: Part, input: Tensor, weight: Tensor, padding: list[int]) -> bool:
    if algorithm == "direct" or input.dtype != torch.float32:
        return False
    return algorithm == "winograd" or prefers_winograd(part, input, weight, padding)


def conv2d(input: Tensor, weight: Tensor, bias: Tensor | None, padding: list[int], algorithm: str) -> Tensor:
    output = None
    if _takes_winograd(algorithm, "forward", input, weight, padding):
        output = winograd.convolution(input, weight, bias, padding)
    if output is None:
        output = F.conv2d(input, weight, bias, padding=padding)
    return output.contiguous(memory_format=resampling.output_format(input, weight))


def conv2d_backward(
    grad_output: Tensor, input: Tensor, weight: Tensor, padding: list[int], algorithm: str, wanted: list[bool]
) -> tuple[Tensor, Tensor]:
    grads: list[Tensor | None] = [None, None]
    if wanted[0] and _takes_winograd(algorithm, "grad_input", input, weight, padding):
        grads[0] = winograd.grad_input(grad_output, weight, padding)
    if wanted[1] and _takes_winograd(algorithm, "grad_weight", input, weight, padding):
        grads[1] = winograd.grad_weight(grad_output, input, weight, padding)
    missing = [want and grad is None for want, grad in zip(wanted, grads, strict=True)]
    if any(missing):
        direct = resampling.convolution_backward(grad_output, input, weight, 1, padding, 1, missing)
        grads = [d if m else g for d, g, m in zip(direct, grads, missing, strict=True)]
    return resampling.laid_out(grads, input, weight)
