"""The DCGAN pair.

Architecture: A. Radford, L. Metz, S. Chintala, "Unsupervised Representation Learning with Deep Convolutional Generative
Adversarial Networks", ICLR 2016, section 3 and figure 1; kernels of 5×5 and initial weights as in section 4.
"""

from __future__ import annotations

import itertools
import math
from typing import TypeVar

from torch import Tensor, nn

from .layers import Layers, stock_layers

__all__ = ["DCGANDiscriminator", "DCGANGenerator"]

_Layer = TypeVar("_Layer", nn.Linear, nn.Conv2d, nn.ConvTranspose2d)
_BASE_SIZE = 4


def _init(layer: _Layer) -> _Layer:
    """Normal weights of standard deviation 0.02 (section 4) and zero biases."""
    nn.init.normal_(layer.weight, std=0.02)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer


def _widths(function: str, image_size: int, channels: int) -> list[int]:
    """Widths from the largest resolution but one to 4×4, each twice the one before."""
    steps = int(math.log2(max(image_size, 1) / _BASE_SIZE)) if image_size > _BASE_SIZE else 0
    if image_size != _BASE_SIZE << steps or steps < 1:
        raise ValueError(f"{function}: image_size must be 8, 16, 32 or another power of two, got {image_size}")
    return [channels << i for i in range(steps)]


class DCGANGenerator(nn.Module):
    """A projection to 4×4, then 5×5 convolutions of stride 1/2; batch norm and ReLU between, tanh at the end.

    Parameters
    ----------
    latent_dim : int, default: 100
        Length of the noise vector.
    channels : int, default: 128
        Width before the last convolution, doubled at each halving of the resolution: 128 is the paper's.
    image_channels, image_size : int, default: 3, 64
        Channels of the images made, and their height and width, a power of two.
    layers : Layers, optional
        The set of layers to build from; stock PyTorch modules by default.
    """

    def __init__(
        self,
        latent_dim: int = 100,
        channels: int = 128,
        image_channels: int = 3,
        image_size: int = 64,
        layers: Layers | None = None,
    ) -> None:
        super().__init__()
        layers = layers or stock_layers()
        *_, first = widths = _widths("DCGANGenerator", image_size, channels)
        self.project = _init(nn.Linear(latent_dim, first * _BASE_SIZE**2, bias=False))
        blocks: list[nn.Module] = [layers.batch_norm(first)]
        for in_channels, out_channels in zip(widths[:0:-1], widths[-2::-1], strict=True):
            conv = nn.ConvTranspose2d(in_channels, out_channels, 5, 2, padding=2, output_padding=1, bias=False)
            blocks += [_init(conv), layers.batch_norm(out_channels)]
        last = nn.ConvTranspose2d(channels, image_channels, 5, 2, padding=2, output_padding=1)
        self.blocks = nn.Sequential(*blocks, _init(last))

    def forward(self, latent: Tensor) -> Tensor:
        """Make images in [-1, 1], [N, image_channels, image_size, image_size], of ``latent`` [N, latent_dim]."""
        return self.blocks(self.project(latent).unflatten(1, (-1, _BASE_SIZE, _BASE_SIZE))).tanh()


class DCGANDiscriminator(nn.Module):
    """5×5 convolutions of stride 2 down to 4×4; batch norm but in the first, LeakyReLU 0.2, a linear layer at the end.

    Parameters
    ----------
    channels : int, default: 128
        Width of the first convolution, doubled at each halving of the resolution.
    image_channels, image_size : int, default: 3, 64
        Channels of the images judged, and their height and width, a power of two.
    layers : Layers, optional
        The set of layers to build from; stock PyTorch modules by default.
    """

    def __init__(
        self, channels: int = 128, image_channels: int = 3, image_size: int = 64, layers: Layers | None = None
    ) -> None:
        super().__init__()
        layers = layers or stock_layers()
        widths = _widths("DCGANDiscriminator", image_size, channels)
        blocks: list[nn.Module] = [_init(nn.Conv2d(image_channels, channels, 5, 2, padding=2)), nn.LeakyReLU(0.2)]
        for in_channels, out_channels in itertools.pairwise(widths):
            conv = nn.Conv2d(in_channels, out_channels, 5, 2, padding=2, bias=False)
            blocks += [_init(conv), layers.batch_norm(out_channels, negative_slope=0.2)]
        self.blocks = nn.Sequential(*blocks, nn.Flatten())
        self.dense = _init(nn.Linear(widths[-1] * _BASE_SIZE**2, 1))

    def forward(self, images: Tensor) -> Tensor:
        """Judge ``images`` [N, image_channels, image_size, image_size] in [-1, 1]: one logit an image, [N]."""
        return self.dense(self.blocks(images)).squeeze(1)
