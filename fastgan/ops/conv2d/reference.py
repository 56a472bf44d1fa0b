"""conv2d in plain torch: fallback and oracle."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from fastgan.ops import resampling
from fastgan.ops.piecewise_linear import activated, gate_of, sloped

__all__ = ["conv2d", "conv2d_backward", "unsupported_reason"]


def unsupported_reason(device_type: str, dtype: torch.dtype) -> str | None:
    return None


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
    output = F.conv2d(activated(input, gate, act, alpha), weight, bias, padding=padding)
    if residual is not None:
        half = residual.shape != output.shape
        output = output + (F.interpolate(residual, scale_factor=2.0) if half else residual)
    output = output.contiguous(memory_format=resampling.output_format(input, weight))
    return output, resampling.moments(output) if statistics else resampling.empty_statistics(output, False)


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
    seen = activated(input, gate, act, alpha) if wanted[1] else input
    of_seen, of_weight = resampling.convolution_backward(grad_output, seen, weight, 1, padding, 1, wanted)
    of_input = None if of_seen is None else sloped(of_seen, gate_of(input, gate, act), act, alpha)
    return resampling.laid_out([of_input, of_weight], input, weight)
