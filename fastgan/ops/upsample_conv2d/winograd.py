"""The upsampled 3×3 convolution by Winograd's algorithm in the compiled CPU extension (csrc/cpu/winograd_upsample.h).

float32 and padding 1, channels_last inside. Each function returns None where a result is not finite. Winograd's sums
then spread what direct convolution keeps apart, or have overflowed where it does not: the caller computes directly.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from fastgan.ops import native, resampling
from fastgan.ops.layout import image_format

__all__ = ["grad_input", "grad_weight", "upsample_conv2d"]


def _call(size: torch.Size, weight: Tensor) -> Any:
    n, c_in, height, width = size
    return native.extension().WinogradUpsampleCall(
        n, height, width, c_in, weight.shape[0],
        weight.stride(0), weight.stride(1), weight.stride(3), torch.get_num_threads(),
    )  # fmt: skip


def _images(x: Tensor) -> Tensor:
    return x.contiguous(memory_format=torch.channels_last)


def _evenly_spaced(weight: Tensor) -> Tensor:
    return weight if weight.stride(2) == 3 * weight.stride(3) else weight.contiguous()


def upsample_conv2d(
    input: Tensor, weight: Tensor, bias: Tensor | None, residual: Tensor | None, statistics: Tensor | None
) -> Tensor | None:
    """The output, channels_last; writes `statistics` where given."""
    input, weight = _images(input), _evenly_spaced(weight)
    bias = None if bias is None else bias.contiguous()
    residual = None if residual is None else _images(residual)
    n, _, height, width = input.shape
    output = resampling.empty_images(input, [n, weight.shape[0], 2 * height, 2 * width], torch.channels_last)
    finite = native.extension().winograd_upsample(
        _call(input.shape, weight), input.data_ptr(), weight.data_ptr(),
        *(0 if x is None else x.data_ptr() for x in (bias, residual)),
        output.data_ptr(), 0 if statistics is None else statistics.data_ptr(),
    )  # fmt: skip
    return output if finite else None


def grad_input(grad: Tensor, input: Tensor, weight: Tensor) -> Tensor | None:
    """The input's gradient, channels_last."""
    grad, weight = _images(grad), _evenly_spaced(weight)
    result = resampling.empty_images(input, list(input.shape), torch.channels_last)
    finite = native.extension().winograd_upsample_input_gradient(
        _call(input.shape, weight), grad.data_ptr(), weight.data_ptr(), result.data_ptr()
    )
    return result if finite else None


def grad_weight(grad: Tensor, input: Tensor, weight: Tensor) -> Tensor | None:
    """The weight's gradient, in weight's memory format."""
    grad, input = _images(grad), _images(input)
    result = resampling.empty_images(weight, list(weight.shape), image_format(weight))
    finite = native.extension().winograd_upsample_weight_gradient(
        _call(input.shape, result), input.data_ptr(), grad.data_ptr(), result.data_ptr()
    )
    return result if finite else None
