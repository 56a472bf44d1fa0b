"""conv2d by Winograd's algorithm, where that is chosen, against torch's convolution."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from fastgan.functional import conv2d

from ..case import Case
from ..convolutions import Shape, convolution_case

__all__ = ["cases"]

#: Same-size convolutions of SNGAN and BigGAN; the project states targets for these.
TARGETS = [
    Shape(16, 128, 128, 32),
    Shape(16, 256, 256, 16),
    Shape(16, 256, 256, 32),
    Shape(8, 96, 96, 64),
    Shape(16, 256, 256, 8),
]
#: Channels and sizes that no tile or vector divides, and shapes that are left to torch, in part or altogether.
OTHERS = [
    Shape(16, 100, 72, 30),
    Shape(16, 64, 64, 17),
    Shape(16, 512, 512, 4),
    Shape(16, 32, 32, 64),
    Shape(16, 3, 64, 64),
    Shape(1, 256, 256, 8),
]


def _stock(shape: Shape, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    return F.conv2d(x, weight, bias, padding=1)


def _ours(shape: Shape, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    return conv2d(x, weight, bias)


def cases(device: torch.device) -> list[Case]:
    """The cases; the first five are those that the project states targets for."""
    quick = [convolution_case("conv2d", shape, _ours, _stock, out_scale=1, quick=True) for shape in TARGETS]
    rest = [convolution_case("conv2d", shape, _ours, _stock, out_scale=1) for shape in OTHERS]
    tiny = convolution_case("conv2d", Shape(2, 8, 8, 8), _ours, _stock, out_scale=1, overhead=True, quick=True)
    return [*quick, *rest, tiny]
