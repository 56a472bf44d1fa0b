"""Winograd's convolution by the compiled CPU extension (csrc/cpu/winograd.cpp): float32, channels_last inside.

Each function returns None where a result is not finite. Winograd's sums then spread what direct convolution keeps
apart, or have overflowed where it does not: the caller computes directly.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from fastgan.ops import native, resampling
from fastgan.ops.layout import image_format

__all__ = ["convolution", "grad_input", "grad_weight", "scratch_bytes", "tile_size"]


def tile_size(height: int, width: int) -> int:
    """The side of the output's tiles with the fewest products for such an output: 4, or 2 in small images."""
    large, small = (-(-height // side) * -(-width // side) * (side + 2) ** 2 for side in (4, 2))
    return 4 if large <= small else 2


def scratch_bytes() -> int:
    """Bytes of scratch memory that this thread keeps from one call to the next."""
    return native.extension().winograd_scratch()


def _call(x: Tensor, weight: Tensor, padding: list[int], output: tuple[int, int], transposed: bool = False) -> Any:
    channels, filters = (0, 1) if transposed else (1, 0)
    return native.extension().WinogradCall(
        tile_size(*output), x.shape[0], *x.shape[2:], weight.shape[channels], weight.shape[filters], *padding,
        weight.stride(filters), weight.stride(channels), weight.stride(3), transposed, torch.get_num_threads(),
    )  # fmt: skip


def _images(x: Tensor) -> Tensor:
    return x.contiguous(memory_format=torch.channels_last)


def _evenly_spaced(weight: Tensor) -> Tensor:
    return weight if weight.stride(2) == 3 * weight.stride(3) else weight.contiguous()


def _correlate(x: Tensor, weight: Tensor, bias: Tensor | None, padding: list[int], transposed: bool) -> Tensor | None:
    x, weight, bias = _images(x), _evenly_spaced(weight), None if bias is None else bias.contiguous()
    height, width = (s + 2 * p - 2 for s, p in zip(x.shape[2:], padding, strict=True))
    size = [x.shape[0], weight.shape[1 if transposed else 0], height, width]
    output = resampling.empty_images(x, size, torch.channels_last)
    finite = native.extension().winograd_convolution(
        _call(x, weight, padding, (height, width), transposed),
        x.data_ptr(), weight.data_ptr(), 0 if bias is None else bias.data_ptr(), output.data_ptr(),
    )  # fmt: skip
    return output if finite else None


def convolution(input: Tensor, weight: Tensor, bias: Tensor | None, padding: list[int]) -> Tensor | None:
    """The output, channels_last."""
    return _correlate(input, weight, bias, padding, transposed=False)


def grad_input(grad: Tensor, weight: Tensor, padding: list[int]) -> Tensor | None:
    """The input's gradient, channels_last: a convolution of the gradient with the weight transposed."""
    return _correlate(grad, weight, None, [2 - p for p in padding], transposed=True)


def grad_weight(grad: Tensor, input: Tensor, weight: Tensor, padding: list[int]) -> Tensor | None:
    """The weight's gradient, in weight's memory format."""
    grad, input = _images(grad), _images(input)
    result = resampling.empty_images(weight, list(weight.shape), image_format(weight))
    finite = native.extension().winograd_weight_gradient(
        _call(input, result, padding, (grad.shape[2], grad.shape[3])),
        input.data_ptr(), grad.data_ptr(), result.data_ptr(),
    )  # fmt: skip
    return result if finite else None
