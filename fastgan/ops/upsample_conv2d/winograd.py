"""The upsampled 3×3 convolution by Winograd's algorithm in the compiled CPU extension (csrc/cpu/winograd_upsample.h).

float32 and padding 1, channels_last inside. A convolution that 2×2 average pooling follows is the gradient of an
upsampled one, and the other way round. Each function returns None where a result is not finite. Winograd's sums
then spread what direct convolution keeps apart, or have overflowed where it does not: the caller computes directly.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from fastgan.ops import native, resampling
from fastgan.ops.conv2d.winograd import NOTHING, Prologue, evenly_spaced, images
from fastgan.ops.layout import image_format

__all__ = [
    "conv2d_avg_pool2d",
    "grad_input",
    "grad_weight",
    "pooled_grad_input",
    "pooled_grad_weight",
    "upsample_conv2d",
]


class _Weight(NamedTuple):
    """A weight as the extension reads it: [filters, channels, 3, 3] at these strides, times `scale`."""

    address: int
    filters: int
    channels: int
    filter_stride: int
    channel_stride: int
    tap_stride: int
    scale: float

    @classmethod
    def of(cls, weight: Tensor) -> _Weight:
        """The tensor itself, with evenly spaced taps."""
        filters, channels = weight.shape[:2]
        return cls(weight.data_ptr(), filters, channels, weight.stride(0), weight.stride(1), weight.stride(3), 1.0)

    def of_pooling(self) -> _Weight:
        """That of the upsampled convolution whose gradient is the pooled convolution with this one."""
        last = self.address + 4 * 8 * self.tap_stride
        return _Weight(
            last, self.channels, self.filters, self.channel_stride, self.filter_stride, -self.tap_stride, 0.25
        )


def _call(low: torch.Size, weight: _Weight) -> Any:
    n, _, height, width = low
    return native.extension().WinogradUpsampleCall(
        n, height, width, weight.channels, weight.filters,
        weight.filter_stride, weight.channel_stride, weight.tap_stride, weight.scale, torch.get_num_threads(),
    )  # fmt: skip


def _address(x: Tensor | None) -> int:
    return 0 if x is None else x.data_ptr()


def _empty(n: int, channels: int, height: int, width: int, like: Tensor) -> Tensor:
    return resampling.empty_images(like, [n, channels, height, width], torch.channels_last)


def _upsampled(low: Tensor, weight: _Weight, after: Any) -> Tensor | None:
    n, _, height, width = low.shape
    output = _empty(n, weight.filters, 2 * height, 2 * width, low)
    finite = native.extension().winograd_upsample(
        _call(low.shape, weight), after, low.data_ptr(), weight.address, output.data_ptr()
    )
    return output if finite else None


def _summed(high: Tensor, weight: _Weight, before: Prologue, bias: Tensor | None) -> Tensor | None:
    n, _, height, width = high.shape
    output = _empty(n, weight.channels, height // 2, width // 2, high)
    finite = native.extension().winograd_upsample_input_gradient(
        _call(output.shape, weight), before.native(), high.data_ptr(), weight.address, _address(bias), output.data_ptr()
    )
    return output if finite else None


def _of_weight(low: Tensor, high: Tensor, weight: _Weight, before: Prologue) -> bool:
    call = _call(low.shape, weight)
    addresses = (low.data_ptr(), high.data_ptr(), weight.address)
    return native.extension().winograd_upsample_weight_gradient(call, before.native(), *addresses)


def upsample_conv2d(
    input: Tensor, weight: Tensor, bias: Tensor | None, residual: Tensor | None, statistics: Tensor | None
) -> Tensor | None:
    """The output, channels_last; writes `statistics` where given."""
    input, weight = images(input), evenly_spaced(weight)
    bias = None if bias is None else bias.contiguous()
    residual = None if residual is None else images(residual)
    after = native.extension().WinogradEpilogue(_address(bias), _address(residual), False, 0, 1.0, _address(statistics))
    return _upsampled(input, _Weight.of(weight), after)


def grad_input(grad: Tensor, input: Tensor, weight: Tensor) -> Tensor | None:
    """The input's gradient, channels_last."""
    grad, weight = images(grad), evenly_spaced(weight)
    return _summed(grad, _Weight.of(weight), NOTHING, None)


def grad_weight(grad: Tensor, input: Tensor, weight: Tensor) -> Tensor | None:
    """The weight's gradient, in weight's memory format."""
    grad, input = images(grad), images(input)
    result = resampling.empty_images(weight, list(weight.shape), image_format(weight))
    return result if _of_weight(input, grad, _Weight.of(result), NOTHING) else None


def conv2d_avg_pool2d(input: Tensor, weight: Tensor, bias: Tensor | None, before: Prologue) -> Tensor | None:
    """The output of the pooled convolution with padding 1 of images with even sides, channels_last."""
    input, weight = images(input), evenly_spaced(weight)
    bias = None if bias is None else bias.contiguous()
    return _summed(input, _Weight.of(weight).of_pooling(), before, bias)


def pooled_grad_input(grad: Tensor, weight: Tensor, before: Prologue) -> Tensor | None:
    """Its input's gradient, channels_last."""
    grad, weight = images(grad), evenly_spaced(weight)
    after = native.extension().WinogradEpilogue(0, 0, False, _address(before.gate), before.below, 0)
    return _upsampled(grad, _Weight.of(weight).of_pooling(), after)


def pooled_grad_weight(grad: Tensor, input: Tensor, weight: Tensor, before: Prologue) -> Tensor | None:
    """Its weight's gradient, in weight's memory format."""
    grad, input = images(grad), images(input)
    result = resampling.empty_images(weight, list(weight.shape), image_format(weight))
    return result if _of_weight(grad, input, _Weight.of(result).of_pooling(), before) else None
