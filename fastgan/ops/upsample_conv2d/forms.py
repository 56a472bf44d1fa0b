"""The ways to compute a convolution of a nearest-upsampled image, and where each applies.

`quarter`: upsampling ×2 is zero insertion followed by a 2×2 box filter, which commutes with the convolution, so that
conv(up(x), w) = Box(conv_transpose(x, w flipped, stride 2)): 9 products per pixel of x and pair of channels for a 3×3
kernel, instead of 36. Exact at the borders too, for any kernel with padding ≤ size - 2.
`commuted`: a 1×1 kernel without padding is applied before the upsampling.
`stock`: upsample, then convolve.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from fastgan.ops.layout import image_format
from fastgan.ops.resampling import convolution_backward, output_format, sum_pool

__all__ = ["backward", "choose", "flipped", "forward", "output_size"]

#: The box filter of an image, without padding, plus a bias; and of a gradient, with padding 1.
Epilogue = Callable[[Tensor, "Tensor | None"], Tensor]
Box = Callable[[Tensor], Tensor]
#: :func:`flipped` by any means.
Flip = Callable[[Tensor, int, torch.memory_format], Tensor]


def choose(input: Tensor, weight: Tensor, padding: list[int], groups: int) -> str:
    """The name of the form for such arguments."""
    kernel = list(weight.shape[2:])
    if kernel == [1, 1] and padding == [0, 0]:
        return "commuted"
    if any(p > k - 2 for k, p in zip(kernel, padding, strict=True)):
        return "stock"
    return "quarter"


def output_size(input: Tensor, weight: Tensor, padding: list[int]) -> list[int]:
    """The output's shape."""
    n, _, *size = input.shape
    spatial = (2 * s + 2 * p - k + 1 for s, p, k in zip(size, padding, weight.shape[2:], strict=True))
    return [n, weight.shape[0], *spatial]


def flipped(weight: Tensor, groups: int, layout: torch.memory_format) -> Tensor:
    """The weight flipped, and with its channels as a transposed convolution wants them; its own inverse."""
    blocks = weight.flip(2, 3).unflatten(0, (groups, -1))
    return blocks.transpose(1, 2).flatten(0, 1).contiguous(memory_format=layout)


def _geometry(weight: Tensor, padding: list[int]) -> list[int]:
    return [k - 2 - p for k, p in zip(weight.shape[2:], padding, strict=True)]


def forward(
    form: str,
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    padding: list[int],
    groups: int,
    epilogue: Epilogue,
    flip: Flip = flipped,
) -> Tensor:
    """The output, with the box filter of the quarter form done by `epilogue`."""
    if form == "quarter":
        cropped = _geometry(weight, padding)
        turned = flip(weight, groups, output_format(input, weight))
        sums = F.conv_transpose2d(input, turned, None, 2, cropped, groups=groups)
        return epilogue(sums, bias)
    if form == "commuted":
        return F.interpolate(F.conv2d(input, weight, bias, groups=groups), scale_factor=2)
    return F.conv2d(F.interpolate(input, scale_factor=2), weight, bias, padding=padding, groups=groups)


def backward(
    form: str,
    grad: Tensor,
    input: Tensor,
    weight: Tensor,
    padding: list[int],
    groups: int,
    wanted: list[bool],
    box: Box,
    flip: Flip = flipped,
) -> tuple[Tensor | None, Tensor | None]:
    """Gradients of input and weight where `wanted`."""
    if form == "quarter":
        cropped = _geometry(weight, padding)
        turned = flip(weight, groups, output_format(input, weight))
        of_input, of_turned = convolution_backward(
            box(grad), input, turned, 2, cropped, groups, wanted, transposed=True
        )
        return of_input, None if of_turned is None else flip(of_turned, groups, image_format(weight))
    if form == "commuted":
        return convolution_backward(sum_pool(grad), input, weight, 1, padding, groups, wanted)
    upsampled = F.interpolate(input, scale_factor=2)
    of_input, of_weight = convolution_backward(grad, upsampled, weight, 1, padding, groups, wanted)
    return None if of_input is None else sum_pool(of_input), of_weight
