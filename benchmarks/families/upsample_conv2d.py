"""upsample_conv2d against nearest interpolation and a convolution."""

from __future__ import annotations

import functools

import torch
import torch.nn.functional as F
from torch import Tensor

from fastgan.functional import upsample_conv2d

from ..case import Case
from ..convolutions import Shape, convolution_case

__all__ = ["cases"]

#: Generators of BigGAN and SNGAN; the project states targets for these.
TARGETS = [Shape(16, 256, 128, 16), Shape(16, 256, 256, 8), Shape(16, 128, 64, 32), Shape(8, 512, 512, 8)]
#: Few and many channels, other kernels, groups, and small work.
CHOICE = [
    Shape(16, 64, 3, 32),
    Shape(16, 16, 16, 32),
    Shape(16, 512, 512, 4),
    Shape(4, 1024, 512, 4),
    Shape(1, 64, 64, 64),
    Shape(8, 32, 32, 16, kernel=7),
    Shape(16, 64, 64, 16, kernel=5),
    Shape(16, 64, 64, 16, kernel=1),
    Shape(16, 64, 64, 32, groups=4),
    Shape(16, 256, 256, 16, groups=256),
    Shape(8, 64, 64, 4),
]


def _stock(shape: Shape, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    upsampled = F.interpolate(x, scale_factor=2)
    return F.conv2d(upsampled, weight, bias, padding=shape.kernel // 2, groups=shape.groups)


def _ours(shape: Shape, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    result = upsample_conv2d(x, weight, bias, groups=shape.groups)
    assert isinstance(result, Tensor)
    return result


def cases(device: torch.device) -> list[Case]:
    """The cases; the first four are those that the project states targets for."""
    case = functools.partial(convolution_case, "upsample_conv2d", ours=_ours, stock=_stock, out_scale=2)
    tiny = case(Shape(2, 8, 8, 4), overhead=True, quick=True)
    return [*(case(shape, quick=True) for shape in TARGETS), *map(case, CHOICE), tiny]
