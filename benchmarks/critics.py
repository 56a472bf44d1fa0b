"""Discriminators on which penalties are measured, and in small ones tested: of torch's layers, or of fastgan's."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import fastgan.nn  # explicitly: the package resolves its submodules when first used
from fastgan.functional import downsample2d, setup_filter

__all__ = ["DCGAN", "R3GAN", "SLOPE"]

#: Of the activations below zero.
SLOPE = 0.2


def _leaky_relu(fast: bool) -> nn.Module:
    return fastgan.nn.LeakyReLU(SLOPE) if fast else nn.LeakyReLU(SLOPE, inplace=True)


class DCGAN(nn.Sequential):
    """Four strided convolutions and a last one, for images of 64×64; without batch norm, as penalties want it.

    Parameters
    ----------
    channels : int, default 64
        Of the first convolution; each of the following three has twice as many.
    fast : bool, default False
        Whether the activations are fastgan's.

    References
    ----------
    A. Radford, L. Metz, S. Chintala, "Unsupervised Representation Learning with Deep Convolutional Generative
    Adversarial Networks", ICLR 2016.
    """

    def __init__(self, channels: int = 64, fast: bool = False) -> None:
        widths = [3, channels, 2 * channels, 4 * channels, 8 * channels]
        layers: list[nn.Module] = []
        for a, b in itertools.pairwise(widths):
            layers += [nn.Conv2d(a, b, 4, 2, 1), _leaky_relu(fast)]
        super().__init__(*layers, nn.Conv2d(widths[-1], 1, 4), nn.Flatten())


class _BiasedActivation(nn.Module):
    """What fastgan.nn.BiasAct stands in for."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        return F.leaky_relu(x + self.bias[:, None, None], SLOPE, inplace=True)


class _Downsample(nn.Module):
    """Half the resolution, by the filter [1, 3, 3, 1]."""

    def __init__(self, fast: bool) -> None:
        super().__init__()
        self.fast = fast
        taps = torch.tensor([1.0, 3.0, 3.0, 1.0])
        self.register_buffer("filter", setup_filter(taps.outer(taps)))

    def forward(self, x: Tensor) -> Tensor:
        if self.fast:
            return downsample2d(x, self.filter)
        channels = x.shape[1]
        each = self.filter.to(x.dtype).expand(channels, 1, 4, 4)
        return F.conv2d(x, each, stride=2, padding=1, groups=channels)


class _Residual(nn.Module):
    def __init__(self, channels: int, groups: int, activation: Callable[[int], nn.Module]) -> None:
        super().__init__()
        wide = 2 * channels
        self.layers = nn.Sequential(
            nn.Conv2d(channels, wide, 1, bias=False), activation(wide),
            nn.Conv2d(wide, wide, 3, padding=1, groups=groups, bias=False), activation(wide),
            nn.Conv2d(wide, channels, 1, bias=False),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        return x + self.layers(x)


class R3GAN(nn.Module):
    """A stage of grouped convolutions for each width, halving the image; at 4×4 a depthwise convolution.

    Parameters
    ----------
    widths : sequence of int
        Channels of each stage. Images are of ``4 * 2**len(widths)`` pixels.
    groups : sequence of int
        Of each stage's 3×3 convolution, which has twice the stage's channels.
    fast : bool, default False
        Whether biases, activations and resampling are fastgan's.

    References
    ----------
    Y. Huang, A. Gokaslan, V. Kuleshov, J. Tompkin, "The GAN is dead; long live the GAN! A Modern GAN Baseline",
    NeurIPS 2024.
    """

    def __init__(self, widths: Sequence[int], groups: Sequence[int], fast: bool = False) -> None:
        super().__init__()

        def activation(channels: int) -> nn.Module:
            if fast:
                return fastgan.nn.BiasAct(channels, act="lrelu", alpha=SLOPE, gain=1.0)
            return _BiasedActivation(channels)

        layers: list[nn.Module] = [nn.Conv2d(3, widths[0], 1)]
        for width, following, each in zip(widths, [*widths[1:], widths[-1]], groups, strict=True):
            layers += [_Residual(width, each, activation), _Downsample(fast)]
            if following != width:
                layers.append(nn.Conv2d(width, following, 1, bias=False))
        self.layers = nn.Sequential(*layers)
        self.last = nn.Conv2d(widths[-1], widths[-1], 4, groups=widths[-1], bias=False)
        self.linear = nn.Linear(widths[-1], 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """One number for each image, ``[N]``."""
        return self.linear(self.last(self.layers(x)).flatten(1)).squeeze(1)
