"""torch's convolution, with Winograd's algorithm where that is faster."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from fastgan import functional

__all__ = ["Conv2d"]


class Conv2d(nn.Conv2d):
    """Drop-in for :class:`torch.nn.Conv2d`: same arguments, same state dict, same results up to rounding.

    3×3 convolutions of stride 1 go to :func:`fastgan.functional.conv2d`, which takes Winograd's algorithm on CPUs where
    that is faster; all others are torch's own.

    Shape
    -----
    As for :class:`torch.nn.Conv2d`, an input ``[C, H, W]`` without a batch included.
    """

    def _conv_forward(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        if (
            input.dim() == 4
            and input.dtype == weight.dtype == torch.float32
            and self.kernel_size == (3, 3)
            and self.stride == self.dilation == (1, 1)
            and self.groups == 1
            and self.padding_mode == "zeros"
        ):
            return functional.conv2d(input, weight, bias, padding=self.padding)
        return super()._conv_forward(input, weight, bias)
