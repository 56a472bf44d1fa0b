"""The pair of Progressive Growing: networks that begin at 4×4 pixels and double their resolution while they learn.

Architecture: T. Karras, T. Aila, S. Laine, J. Lehtinen, "Progressive Growing of GANs for Improved Quality, Stability,
and Variation", ICLR 2018, table 2, section 4 and appendix A.1; constants that the paper does not give are those of
the authors' published code.
"""

from __future__ import annotations

import math
from functools import partial
from itertools import pairwise
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parametrize

from fastgan.nn import MinibatchStdDev

from .layers import Layers, stock_layers

__all__ = ["STATISTICS_GROUP", "Growth", "ProGANDiscriminator", "ProGANGenerator", "equalized", "progan_widths"]

#: Images in a group of the minibatch standard deviation.
STATISTICS_GROUP = 4
_SLOPE = 0.2
_Weighted = TypeVar("_Weighted", bound=nn.Module)


def progan_widths(channels: int, channel_base: int, image_size: int) -> list[int]:
    """Widths at 4×4, 8×8 and so on: ``channel_base / size``, at most ``channels``."""
    return [min(channels, channel_base >> level) for level in range(2, round(math.log2(image_size)) + 1)]


class Growth(nn.Module):
    """How far networks have grown, in doublings of 4×4: at 1.25 a quarter of 16×16 has been faded in over 8×8.

    The number is part of the state dict of each network that has it as a module. Networks may share one, and copies
    of a network keep the original's: a moving average grows with what it follows.
    """

    def __init__(self, value: float = 0.0) -> None:
        super().__init__()
        self.value = value

    @property
    def level(self) -> int:
        """Index of the highest resolution in use: its images have ``4 << level`` pixels a side."""
        return math.ceil(self.value)

    @property
    def alpha(self) -> float:
        """Weight of that resolution, in (0, 1]; the rest is the one below."""
        return 1 - (self.level - self.value)

    def shown(self, images: Tensor) -> Tensor:
        """Full images [N, C, H, W] as the discriminator is to see them: averaged down, and faded as its inputs are."""
        factor = images.shape[-1] // (4 << self.level)
        if factor > 1:
            images = F.avg_pool2d(images, factor)
        if self.alpha == 1:
            return images
        return torch.lerp(F.interpolate(F.avg_pool2d(images, 2), scale_factor=2), images, self.alpha)

    def get_extra_state(self) -> Tensor:
        """The number, which is kept off the device: to read it there would be to wait for it."""
        return torch.tensor(self.value, dtype=torch.float64)

    def set_extra_state(self, state: Tensor) -> None:
        """Take the number back."""
        self.value = float(state)

    def __deepcopy__(self, memo: dict[int, Any]) -> Growth:
        return self

    def extra_repr(self) -> str:
        """The number."""
        return f"{self.value}"


class _Scale(nn.Module):
    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, weight: Tensor) -> Tensor:
        return weight * self.factor


def equalized(layer: _Weighted, gain: float = math.sqrt(2)) -> _Weighted:
    """Draw the layer's weight from the standard normal, and scale it at each use by He's ``gain`` / √fan-in instead.

    All weights then learn at one rate, whatever their scale: section 4.1 of the paper. Returns the layer.
    """
    weight = layer.weight
    assert isinstance(weight, Tensor)
    nn.init.normal_(weight)
    if isinstance(layer.bias, Tensor):
        nn.init.zeros_(layer.bias)
    parametrize.register_parametrization(layer, "weight", _Scale(gain / math.sqrt(weight[0].numel())))
    return layer


class ProGANGenerator(nn.Module):
    """A block at 4×4, then one for each doubling; a 1×1 convolution to the image at each resolution.

    Parameters
    ----------
    latent_dim : int
        Length of the noise vector, which is normalised.
    widths : list of int
        Width at 4×4, 8×8 and so on.
    image_channels : int, default: 3
        Channels of the images made.
    growth : Growth, optional
        How far the network has grown; by default wholly.
    layers : Layers, optional
        The set of layers to build from; stock PyTorch modules by default.
    """

    def __init__(
        self,
        latent_dim: int,
        widths: list[int],
        image_channels: int = 3,
        growth: Growth | None = None,
        layers: Layers | None = None,
    ) -> None:
        super().__init__()
        layers = layers or stock_layers()
        self.growth = growth or Growth(len(widths) - 1)
        first = widths[0]
        self.norm = layers.pixel_norm()
        # The weight of a convolution from 1×1 to 4×4, with that one's fan-in.
        self.dense = equalized(nn.Linear(latent_dim, 16 * first, bias=False), math.sqrt(2) / 4)
        self.act = layers.bias_leaky_relu(first, _SLOPE)
        self.conv = equalized(nn.Conv2d(first, first, 3, padding=1))
        activated = partial(_activated, layers)
        self.blocks = nn.ModuleList(
            layers.block_up(lower, upper, norm=activated, wrap=equalized, residual=False)
            for lower, upper in pairwise(widths)
        )
        self.to_rgb = nn.ModuleList(
            nn.Sequential(activated(width), equalized(nn.Conv2d(width, image_channels, 1), 1.0)) for width in widths
        )

    def forward(self, latent: Tensor) -> Tensor:
        """Make images of the resolution that the network has grown to.

        Parameters
        ----------
        latent : Tensor
            Noise, [N, latent_dim], standard normal.

        Returns
        -------
        Tensor
            Images [N, image_channels, 4 << level, 4 << level], not bounded: those of the data are in [-1, 1].
        """
        level, alpha = self.growth.level, self.growth.alpha
        h = self.norm(latent[:, :, None, None]).flatten(1)
        h = self.conv(self.norm(self.act(self.dense(h).view(len(latent), -1, 4, 4))))
        lower = h
        for block in self.blocks[:level]:
            lower, h = h, block(h)
        images = self.to_rgb[level](h)
        if alpha == 1:
            return images
        return torch.lerp(F.interpolate(self.to_rgb[level - 1](lower), scale_factor=2), images, alpha)


def _activated(layers: Layers, channels: int) -> nn.Module:
    """What comes after each convolution of the generator, and so before the next; for any number of ``channels``."""
    return nn.Sequential(layers.leaky_relu(_SLOPE), layers.pixel_norm())


class ProGANDiscriminator(nn.Module):
    """The generator's mirror, without normalisation; statistics of the minibatch join at 4×4.

    Parameters
    ----------
    widths : list of int
        Width at 4×4, 8×8 and so on.
    image_channels, growth, layers
        As for :class:`ProGANGenerator`.
    """

    def __init__(
        self,
        widths: list[int],
        image_channels: int = 3,
        growth: Growth | None = None,
        layers: Layers | None = None,
    ) -> None:
        super().__init__()
        layers = layers or stock_layers()
        self.growth = growth or Growth(len(widths) - 1)
        self.act = layers.leaky_relu(_SLOPE)
        self.from_rgb = nn.ModuleList(equalized(nn.Conv2d(image_channels, width, 1)) for width in widths)
        # Their inputs are faded after the activation, which therefore is not part of them.
        self.blocks = nn.ModuleList(
            layers.block_down(
                upper, lower, hidden_channels=upper, act="lrelu", alpha=_SLOPE, wrap=equalized, residual=False,
                preactivation=False,
            )
            for lower, upper in pairwise(widths)
        )  # fmt: skip
        first = widths[0]
        self.statistics = MinibatchStdDev(STATISTICS_GROUP)
        self.conv = equalized(nn.Conv2d(first + 1, first, 3, padding=1))
        self.hidden = equalized(nn.Linear(16 * first, first))
        self.dense = equalized(nn.Linear(first, 1), 1.0)

    def forward(self, images: Tensor) -> Tensor:
        """Judge ``images`` [N, image_channels, 4 << level, 4 << level]: one logit an image, [N]."""
        level, alpha = self.growth.level, self.growth.alpha
        size = 4 << level
        if images.shape[2:] != (size, size):
            raise ValueError(f"ProGANDiscriminator: images must be [N, C, {size}, {size}], got {list(images.shape)}")
        h = self.act(self.from_rgb[level](images))
        for index in reversed(range(level)):
            h = self.act(self.blocks[index](h))
            if alpha < 1 and index == level - 1:
                lower = self.act(self.from_rgb[index](F.avg_pool2d(images, 2)))
                h = torch.lerp(lower, h, alpha)
        h = self.act(self.conv(self.statistics(h)))
        return self.dense(self.act(self.hidden(h.flatten(1)))).squeeze(1)
