"""What R3GAN's networks are made of beside convolutions, from fastgan's functions and from PyTorch's."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fastgan import functional

__all__ = ["FIRResample", "StockBiasLeakyReLU", "StockFIRResample"]


class FIRResample(nn.Module):
    """Doubles or halves the resolution with the filter [1, 2, 1], in place of pixels as StyleGAN's resampling.

    Parameters
    ----------
    up : bool
        Whether to double.
    """

    filter: Tensor

    def __init__(self, up: bool) -> None:
        super().__init__()
        self.up = up
        self.register_buffer("filter", functional.setup_filter([1, 2, 1]), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """``x`` [N, C, H, W], of even height and width where they are halved."""
        return functional.upsample2d(x, self.filter) if self.up else functional.downsample2d(x, self.filter)


class StockFIRResample(nn.Module):
    """:class:`FIRResample` by a convolution of each channel."""

    filter: Tensor

    def __init__(self, up: bool) -> None:
        super().__init__()
        self.up = up
        taps = torch.tensor([1.0, 2.0, 1.0])
        self.register_buffer("filter", torch.outer(taps, taps) / (4 if up else 16), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """``x`` [N, C, H, W], of even height and width where they are halved."""
        channels = x.shape[1]
        weight = self.filter.to(x.dtype).expand(channels, 1, 3, 3)
        if self.up:
            return F.conv_transpose2d(x, weight, stride=2, groups=channels)[:, :, :-1, :-1]
        return F.conv2d(x, weight, stride=2, padding=1, groups=channels)


class StockBiasLeakyReLU(nn.Module):
    """Adds a learned bias to each channel, then LeakyReLU: ``fastgan.nn.BiasAct`` with act "lrelu" and gain 1."""

    def __init__(self, num_features: int, negative_slope: float) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(num_features))
        self.negative_slope = negative_slope

    def forward(self, x: Tensor) -> Tensor:
        """``x`` [N, num_features, H, W]."""
        return F.leaky_relu(x + self.bias[:, None, None], self.negative_slope)
