"""conv2d_avg_pool2d against a convolution and average pooling."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from fastgan.functional import conv2d_avg_pool2d

from ..case import Case
from ..convolutions import Shape, convolution_case

__all__ = ["cases"]

#: Discriminators of BigGAN and SNGAN; the project states targets for these.
TARGETS = [Shape(16, 128, 128, 32), Shape(16, 256, 256, 16), Shape(16, 64, 64, 64), Shape(8, 512, 512, 16)]
#: Few and many channels, other kernels, groups, and small work.
CHOICE = [
    Shape(16, 3, 64, 64),
    Shape(16, 16, 16, 64),
    Shape(16, 512, 512, 8),
    Shape(4, 512, 1024, 8),
    Shape(1, 64, 64, 128),
    Shape(8, 32, 32, 32, kernel=7),
    Shape(16, 64, 64, 32, kernel=5),
    Shape(16, 64, 64, 32, kernel=1),
    Shape(16, 64, 64, 64, groups=4),
    Shape(16, 256, 256, 32, groups=256),
    Shape(8, 64, 64, 8),
]


def _stock(shape: Shape, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    return F.avg_pool2d(F.conv2d(x, weight, bias, padding=shape.kernel // 2, groups=shape.groups), 2)


def _ours(shape: Shape, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    return conv2d_avg_pool2d(x, weight, bias, groups=shape.groups)


def cases(device: torch.device) -> list[Case]:
    """The cases; the first four are those that the project states targets for."""
    quick = [
        convolution_case("conv2d_avg_pool2d", shape, _ours, _stock, out_scale=0.5, quick=True) for shape in TARGETS
    ]
    rest = [convolution_case("conv2d_avg_pool2d", shape, _ours, _stock, out_scale=0.5) for shape in CHOICE]
    small = Shape(2, 8, 8, 8)
    tiny = convolution_case("conv2d_avg_pool2d", small, _ours, _stock, out_scale=0.5, overhead=True, quick=True)
    return [*quick, *rest, tiny]
