"""The three networks of VAE/GAN.

Architecture: A. B. L. Larsen, S. K. Sønderby, H. Larochelle, O. Winther, "Autoencoding beyond pixels using a learned
similarity metric", ICML 2016, table 1. Length of a code, and the layer that measures similarity, are those of the
authors' published code. Convolutions and linear layers in front of batch norm have no bias, which it would take away.
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import TypeVar

import torch
from torch import Tensor, nn

from .layers import Layers, stock_layers
from .vae import Autoencoder

__all__ = ["ConvDecoder", "ConvEncoder", "VAEGANAutoencoder", "VAEGANDiscriminator"]

_Layer = TypeVar("_Layer", nn.Linear, nn.Conv2d, nn.ConvTranspose2d)
_REDUCTION = 8


def _init(layer: _Layer) -> _Layer:
    """Normal weights by the layer's inputs and outputs (Glorot, Bengio 2010), as in the authors' code; zero biases."""
    nn.init.xavier_normal_(layer.weight)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer


def _base(function: str, image_size: int) -> int:
    if image_size < _REDUCTION or image_size % _REDUCTION:
        raise ValueError(f"{function}: image_size must be a multiple of {_REDUCTION}, got {image_size}")
    return image_size // _REDUCTION


def _down(in_channels: int, out_channels: int, layers: Layers) -> list[nn.Module]:
    return [
        _init(nn.Conv2d(in_channels, out_channels, 5, 2, padding=2, bias=False)),
        layers.batch_norm(out_channels),
    ]


def _up(in_channels: int, out_channels: int, layers: Layers) -> list[nn.Module]:
    conv = nn.ConvTranspose2d(in_channels, out_channels, 5, 2, padding=2, output_padding=1, bias=False)
    return [_init(conv), layers.batch_norm(out_channels)]


class _Dense(nn.Module):
    """A linear layer, batch norm of each of its outputs, ReLU."""

    def __init__(self, in_features: int, out_features: int, layers: Layers) -> None:
        super().__init__()
        self.linear = _init(nn.Linear(in_features, out_features, bias=False))
        self.norm = layers.batch_norm(out_features)

    def forward(self, x: Tensor) -> Tensor:
        """``x`` [N, in_features]."""
        return self.norm(self.linear(x)[:, :, None, None]).flatten(1)


class ConvEncoder(nn.Module):
    """Three 5×5 convolutions of stride 2 and a hidden layer, with batch norm and ReLU, to the codes' distributions.

    Parameters
    ----------
    latent_dim : int, default: 128
        Length of a code.
    channels : int, default: 64
        Width of the first convolution, twice and four times as much in the others.
    hidden : int, default: 2048
        Width of the hidden layer.
    image_channels, image_size : int, default: 3, 64
        Channels of the images, and their height and width, a multiple of 8.
    condition_dim : int, default: 0
        Length of the conditions, which enter the hidden layer.
    layers : Layers, optional
        The set of layers to build from; stock PyTorch modules by default.
    """

    def __init__(
        self,
        latent_dim: int = 128,
        channels: int = 64,
        hidden: int = 2048,
        image_channels: int = 3,
        image_size: int = 64,
        condition_dim: int = 0,
        layers: Layers | None = None,
    ) -> None:
        super().__init__()
        layers = layers or stock_layers()
        features = 4 * channels * _base("ConvEncoder", image_size) ** 2
        widths = (image_channels, channels, 2 * channels, 4 * channels)
        self.blocks = nn.Sequential(*(layer for pair in pairwise(widths) for layer in _down(*pair, layers)))
        self.dense = _Dense(features + condition_dim, hidden, layers)
        self.code = _init(nn.Linear(hidden, 2 * latent_dim))

    def forward(self, images: Tensor, *conditions: Tensor) -> Tensor:
        """Code ``images`` [N, image_channels, image_size, image_size]: [N, 2 latent_dim]."""
        return self.code(self.dense(torch.cat([self.blocks(images).flatten(1), *conditions], 1)))


class ConvDecoder(nn.Module):
    """A projection to an eighth of the size, three 5×5 convolutions of stride 1/2, one of stride 1 without batch norm.

    Parameters
    ----------
    outputs : int, default: 1
        Maps for each channel of an image.
    latent_dim, channels, image_channels, image_size, condition_dim, layers
        As for :class:`ConvEncoder`; conditions are joined to the codes.
    """

    def __init__(
        self,
        latent_dim: int = 128,
        channels: int = 64,
        image_channels: int = 3,
        image_size: int = 64,
        condition_dim: int = 0,
        outputs: int = 1,
        layers: Layers | None = None,
    ) -> None:
        super().__init__()
        layers = layers or stock_layers()
        base = _base("ConvDecoder", image_size)
        self.shape = (4 * channels, base, base)
        self.dense = _Dense(latent_dim + condition_dim, math.prod(self.shape), layers)
        widths = (4 * channels, 4 * channels, 2 * channels, channels // 2)
        self.blocks = nn.Sequential(
            *(layer for pair in pairwise(widths) for layer in _up(*pair, layers)),
            _init(nn.Conv2d(widths[-1], outputs * image_channels, 5, padding=2)),
        )

    def forward(self, codes: Tensor, *conditions: Tensor) -> Tensor:
        """Outputs [N, outputs · image_channels, image_size, image_size], not bounded, of ``codes`` [N, latent_dim]."""
        return self.blocks(self.dense(torch.cat([codes, *conditions], 1)).unflatten(1, self.shape))


class VAEGANDiscriminator(nn.Module):
    """5×5 convolutions, the first of stride 1 without batch norm, three of stride 2, and two linear layers.

    Parameters
    ----------
    channels : int, default: 32
        Width of the first convolution; 4, 8 and 8 times as much in the others.
    hidden : int, default: 512
        Width of the hidden layer.
    image_channels, image_size, layers
        As for :class:`ConvEncoder`.
    """

    def __init__(
        self,
        channels: int = 32,
        hidden: int = 512,
        image_channels: int = 3,
        image_size: int = 64,
        layers: Layers | None = None,
    ) -> None:
        super().__init__()
        layers = layers or stock_layers()
        wide = 8 * channels
        widths = (channels, 4 * channels, wide, wide)
        blocks: list[nn.Module] = [
            _init(nn.Conv2d(image_channels, channels, 5, padding=2, bias=False)),
            layers.bias_leaky_relu(channels, 0.0),
            *(layer for pair in pairwise(widths) for layer in _down(*pair, layers)),
        ]
        self.norm = blocks.pop()
        self.blocks = nn.Sequential(*blocks)
        self.dense = _Dense(wide * _base("VAEGANDiscriminator", image_size) ** 2, hidden, layers)
        self.logit = _init(nn.Linear(hidden, 1))

    def features(self, images: Tensor) -> Tensor:
        """What similarity is measured on: the last convolution's outputs, [N, 8 channels, H / 8, W / 8]."""
        return self.blocks(images)

    def forward(self, images: Tensor) -> Tensor:
        """Judge ``images`` [N, image_channels, image_size, image_size] in [-1, 1]: one logit an image, [N]."""
        return self.logit(self.dense(self.norm(self.features(images)).flatten(1))).squeeze(1)


class VAEGANAutoencoder(Autoencoder):
    """An autoencoder of images in [-1, 1] whose decoder has two teachers and its encoder one of them."""

    def __init__(self, encoder: ConvEncoder, decoder: ConvDecoder, latent_dim: int) -> None:
        super().__init__(encoder, decoder, latent_dim, torch.tanh)

    def forward(  # type: ignore[override]  # there are no labels here
        self, noise: Tensor, images: Tensor | None = None, gamma: float = 1.0
    ) -> Tensor | tuple[Tensor, Tensor, Tensor]:
        """Make images of noise, or all that training needs of a batch of images.

        Parameters
        ----------
        noise : Tensor
            Standard normal, [N, latent_dim]; with ``images`` [2 N, latent_dim], of which the second half makes images.
        images : Tensor, optional
            [N, C, H, W].
        gamma : float
            Weight that the caller gives to the loss of the reconstructions; the encoder's gradient is divided by it.

        Returns
        -------
        Tensor or tuple of Tensors
            Without ``images``: images [N, C, H, W]. With them: the codes' posterior [N, 2 latent_dim]; reconstructions
            [N, C, H, W] to compare; and the fakes, [2 N, C, H, W], which are reconstructions and images made of noise,
            and whose gradients stop at the codes.
        """
        if images is None:
            return self.mean(self.decode(noise))
        posterior = self.encode(images)
        own_noise, prior_noise = noise.chunk(2)
        codes = self.sample(posterior, own_noise)
        fixed = codes.detach()
        reconstructions = self.mean(self.decode(fixed + (codes - fixed) / gamma))
        return posterior, reconstructions, self.mean(self.decode(torch.cat([fixed, prior_noise])))

    def fakes(self, noise: Tensor, images: Tensor) -> Tensor:
        """The last result of ``forward`` alone, for the discriminator's updates."""
        own_noise, prior_noise = noise.chunk(2)
        codes = self.sample(self.encode(images), own_noise)
        return self.mean(self.decode(torch.cat([codes, prior_noise])))
