"""The R3GAN pair.

Architecture: N. Huang, A. Gokaslan, V. Kuleshov, J. Tompkin, "The GAN is dead; long live the GAN! A Modern GAN
Baseline", NeurIPS 2024, section 4 (configuration E): residual blocks of an inverted bottleneck with grouped
convolutions, no normalisation, initial weights scaled in its place (H. Zhang et al., "Fixup
Initialization", ICLR 2019).
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import TypeVar

import torch
from torch import Tensor, nn

from .layers import Layers, stock_layers

__all__ = ["R3GANDiscriminator", "R3GANGenerator", "r3gan_widths"]

_SLOPE = 0.2
_GAIN = math.sqrt(2 / (1 + _SLOPE**2))
_CHANNELS_OF_A_GROUP = 16
_Weighted = TypeVar("_Weighted", nn.Linear, nn.Conv2d, nn.Embedding)


def r3gan_widths(channels: int, image_size: int, full_width_size: int = 32) -> list[int]:
    """Widths from 4×4 up: ``channels`` as far as ``full_width_size``, halved at each further doubling.

    32 is what the paper's networks have.
    """
    sizes = [4 << stage for stage in range(round(math.log2(image_size)) - 1)]
    return [channels * full_width_size // max(size, full_width_size) for size in sizes]


def _init(layer: _Weighted, gain: float = 1.0) -> _Weighted:
    """Normal weights, for outputs of variance ``gain``² where inputs have variance 1."""
    fan_in = layer.num_embeddings if isinstance(layer, nn.Embedding) else layer.weight[0].numel()
    nn.init.normal_(layer.weight, std=gain / math.sqrt(fan_in))
    return layer


def _conv(
    in_channels: int, out_channels: int, kernel_size: int = 1, *, groups: int = 1, gain: float = 1.0
) -> nn.Conv2d:
    conv = nn.Conv2d(in_channels, out_channels, kernel_size, padding=kernel_size // 2, groups=groups, bias=False)
    return _init(conv, gain)


class R3GANBlock(nn.Module):
    """1×1 convolution to twice the width, grouped 3×3, 1×1 back, whose weights start at zero; added to the input.

    Parameters
    ----------
    channels : int
        Width, a multiple of 8.
    blocks : int
        Residual blocks in the whole network, for the scale of the initial weights.
    layers : Layers
        The set of layers to build from.
    """

    def __init__(self, channels: int, blocks: int, layers: Layers) -> None:
        super().__init__()
        wide = 2 * channels
        gain = _GAIN * blocks ** (-1 / 4)
        self.conv1 = _conv(channels, wide, gain=gain)
        self.act1 = layers.bias_leaky_relu(wide, _SLOPE)
        self.conv2 = _conv(wide, wide, 3, groups=wide // _CHANNELS_OF_A_GROUP, gain=gain)
        self.act2 = layers.bias_leaky_relu(wide, _SLOPE)
        self.conv3 = _conv(wide, channels, gain=0.0)

    def forward(self, x: Tensor) -> Tensor:
        """``x`` [N, channels, H, W], and what the block adds."""
        return x + self.conv3(self.act2(self.conv2(self.act1(self.conv1(x)))))


def _transition(in_channels: int, out_channels: int, layers: Layers, *, up: bool) -> list[nn.Module]:
    """Resampling, and a 1×1 convolution where the width changes, at the lower resolution."""
    conv = [_conv(in_channels, out_channels)] if in_channels != out_channels else []
    return [*conv, layers.fir_resample(up)] if up else [layers.fir_resample(up), *conv]


class R3GANGenerator(nn.Module):
    """A learned 4×4 basis scaled by a linear function of the noise, then blocks and upsamplings.

    Parameters
    ----------
    latent_dim : int
        Length of the noise vector.
    widths : list of int
        Width at 4×4, 8×8 and so on, multiples of 8.
    blocks : int, default: 2
        Residual blocks at each resolution; 2 is the paper's.
    image_channels : int, default: 3
        Channels of the images made.
    num_classes : int, optional
        Number of labels; ``None`` makes an unconditional generator. An embedding as long as the noise is joined to it.
    layers : Layers, optional
        The set of layers to build from; stock PyTorch modules by default.
    """

    def __init__(
        self,
        latent_dim: int,
        widths: list[int],
        blocks: int = 2,
        image_channels: int = 3,
        num_classes: int | None = None,
        layers: Layers | None = None,
    ) -> None:
        super().__init__()
        layers = layers or stock_layers()
        _check_widths("R3GANGenerator", widths)
        total = blocks * len(widths)
        self.embedding = None if num_classes is None else _init(nn.Embedding(num_classes, latent_dim))
        self.dense = _init(nn.Linear(latent_dim * (1 if num_classes is None else 2), widths[0], bias=False))
        self.basis = nn.Parameter(torch.randn(widths[0], 4, 4))
        stages: list[nn.Module] = [R3GANBlock(widths[0], total, layers) for _ in range(blocks)]
        for lower, upper in pairwise(widths):
            stages += _transition(lower, upper, layers, up=True)
            stages += [R3GANBlock(upper, total, layers) for _ in range(blocks)]
        self.blocks = nn.Sequential(*stages, _conv(widths[-1], image_channels))

    def forward(self, latent: Tensor, labels: Tensor | None = None) -> Tensor:
        """Make images.

        Parameters
        ----------
        latent : Tensor
            Noise, [N, latent_dim], standard normal.
        labels : Tensor, optional
            int64 [N], for a conditional generator.

        Returns
        -------
        Tensor
            Images [N, image_channels, H, W], not bounded: those of the data are in [-1, 1].
        """
        if self.embedding is not None:
            latent = torch.cat([latent, self.embedding(labels)], 1)
        return self.blocks(self.basis * self.dense(latent)[:, :, None, None])


class R3GANDiscriminator(nn.Module):
    """The generator's mirror: blocks and downsamplings to 4×4, one number of each channel there, and a linear layer.

    Parameters
    ----------
    widths : list of int
        Width at 4×4, 8×8 and so on, multiples of 8.
    blocks, image_channels, num_classes, layers
        As for :class:`R3GANGenerator`; labels enter by projection.
    """

    def __init__(
        self,
        widths: list[int],
        blocks: int = 2,
        image_channels: int = 3,
        num_classes: int | None = None,
        layers: Layers | None = None,
    ) -> None:
        super().__init__()
        layers = layers or stock_layers()
        _check_widths("R3GANDiscriminator", widths)
        total = blocks * len(widths)
        stages: list[nn.Module] = [_conv(image_channels, widths[-1])]
        for upper, lower in pairwise([*reversed(widths), 0]):
            stages += [R3GANBlock(upper, total, layers) for _ in range(blocks)]
            stages += _transition(upper, lower, layers, up=False) if lower else []
        self.blocks = nn.Sequential(*stages)
        features = widths[0]
        self.basis = _init(nn.Conv2d(features, features, 4, groups=features, bias=False))
        self.dense = _init(nn.Linear(features, 1 if num_classes is None else features, bias=False))
        self.embedding: nn.Embedding | None = None
        if num_classes is not None:
            self.embedding = _init(nn.Embedding(num_classes, features), 1 / math.sqrt(features))

    def forward(self, images: Tensor, labels: Tensor | None = None) -> Tensor:
        """Judge ``images`` [N, image_channels, H, W], of ``labels`` int64 [N] or none: one logit an image, [N]."""
        features = self.dense(self.basis(self.blocks(images)).flatten(1))
        return features.squeeze(1) if self.embedding is None else (features * self.embedding(labels)).sum(1)


def _check_widths(function: str, widths: list[int]) -> None:
    if not widths or any(width < 8 or width % 8 for width in widths):
        raise ValueError(f"{function}: widths must be multiples of 8, got {widths}")
