"""The SNGAN ResNet pair for 32×32 images.

Architecture: T. Miyato, T. Kataoka, M. Koyama, Y. Yoshida, "Spectral Normalization for Generative Adversarial
Networks", ICLR 2018, appendix B.4, table 4 (ResNet for CIFAR-10). Conditioning on labels: T. Miyato, M. Koyama,
"cGANs with Projection Discriminator", ICLR 2018 (projection in the discriminator, conditional batch norm in the
generator).
"""

from __future__ import annotations

import functools
from typing import cast

import torch
from torch import Tensor, nn

from .layers import Layers, stock_layers

__all__ = ["SNGANDiscriminator", "SNGANGenerator", "initialised"]

IMAGE_SIZE = 32
_BASE_SIZE = 4


def _init(module: nn.Module, gain: float) -> None:
    """Xavier uniform weights and zero biases, as in the authors' code; before any spectral norm is applied."""
    nn.init.xavier_uniform_(cast(Tensor, module.weight), gain)
    if isinstance(bias := getattr(module, "bias", None), Tensor):
        nn.init.zeros_(bias)


def initialised(conv: nn.Module) -> nn.Module:
    """The convolution with its initial weights; those of the shortcuts, which are 1×1, have gain 1."""
    _init(conv, 1.0 if cast(nn.Conv2d, conv).kernel_size == (1, 1) else 2**0.5)
    return conv


def _check_labels(function: str, labels: Tensor | None, num_classes: int | None) -> None:
    if (labels is None) != (num_classes is None):
        expected = "no labels (num_classes is None)" if num_classes is None else f"labels in [0, {num_classes})"
        raise ValueError(f"{function}: expected {expected}, got {'none' if labels is None else 'labels'}")


class SNGANGenerator(nn.Module):
    """Dense 4×4, three upsampling residual blocks, batch norm, ReLU, 3×3 convolution, tanh.

    Parameters
    ----------
    latent_dim : int, default: 128
        Length of the noise vector.
    channels : int, default: 256
        Width of every block; 256 is the paper's.
    image_channels : int, default: 3
        Channels of the images made.
    num_classes : int, optional
        Number of labels; ``None`` makes an unconditional generator.
    layers : Layers, optional
        The set of layers to build from; stock PyTorch modules by default.
    """

    def __init__(
        self,
        latent_dim: int = 128,
        channels: int = 256,
        image_channels: int = 3,
        num_classes: int | None = None,
        layers: Layers | None = None,
    ) -> None:
        super().__init__()
        layers = layers or stock_layers()
        self.latent_dim = latent_dim
        self.channels = channels
        self.num_classes = num_classes
        self.dense = nn.Linear(latent_dim, _BASE_SIZE**2 * channels)
        _init(self.dense, 1.0)
        norm = functools.partial(layers.batch_norm, num_classes=num_classes)
        self.blocks = nn.ModuleList(layers.block_up(channels, channels, norm=norm, wrap=initialised) for _ in range(3))
        self.norm = layers.batch_norm(channels)
        self.conv = nn.Conv2d(channels, image_channels, 3, padding=1)
        _init(self.conv, 1.0)

    def forward(self, latent: Tensor, labels: Tensor | None = None) -> Tensor:
        """Make images.

        Parameters
        ----------
        latent : Tensor
            Noise, [N, latent_dim], standard normal.
        labels : Tensor, optional
            int64 [N]; given if and only if the generator is conditional.

        Returns
        -------
        Tensor
            Images in [-1, 1], [N, image_channels, 32, 32].
        """
        _check_labels("SNGANGenerator", labels, self.num_classes)
        x = self.dense(latent).unflatten(1, (self.channels, _BASE_SIZE, _BASE_SIZE))
        conditions = () if labels is None else (labels,)
        statistics = None  # of x, where a block has gathered them for the norm after it
        for block in self.blocks:
            x, statistics = block(x, *conditions, statistics=statistics, return_statistics=True)
        x = self.norm(x) if statistics is None else self.norm(x, statistics)
        return torch.tanh(self.conv(x))


class SNGANDiscriminator(nn.Module):
    """Two downsampling and two plain residual blocks, ReLU, global sum, dense; spectral norm on every weight.

    Parameters
    ----------
    channels : int, default: 128
        Width of every block; 128 is the paper's.
    image_channels : int, default: 3
        Channels of the images judged.
    num_classes : int, optional
        Number of labels for the projection; ``None`` makes an unconditional discriminator.
    layers : Layers, optional
        The set of layers to build from; stock PyTorch modules by default.
    """

    def __init__(
        self,
        channels: int = 128,
        image_channels: int = 3,
        num_classes: int | None = None,
        layers: Layers | None = None,
    ) -> None:
        super().__init__()
        layers = layers or stock_layers()
        self.num_classes = num_classes

        def wrap(conv: nn.Module) -> nn.Module:
            return layers.spectral_norm(initialised(conv))

        self.blocks = nn.Sequential(
            layers.block_down(image_channels, channels, wrap=wrap, preactivation=False),
            layers.block_down(channels, channels, wrap=wrap),
            layers.block_down(channels, channels, wrap=wrap, downsample=False),
            layers.block_down(channels, channels, wrap=wrap, downsample=False),
        )
        self.act = nn.ReLU(inplace=True)
        dense = nn.Linear(channels, 1)
        _init(dense, 1.0)
        self.dense = layers.spectral_norm(dense)
        self.embedding: nn.Module | None = None
        if num_classes is not None:
            embedding = nn.Embedding(num_classes, channels)
            _init(embedding, 1.0)
            self.embedding = layers.spectral_norm(embedding)
        layers.group_spectral_norm(self)

    def forward(self, images: Tensor, labels: Tensor | None = None) -> Tensor:
        """Judge images.

        Parameters
        ----------
        images : Tensor
            [N, image_channels, 32, 32], in [-1, 1].
        labels : Tensor, optional
            int64 [N]; given if and only if the discriminator is conditional.

        Returns
        -------
        Tensor
            One logit an image, [N].
        """
        _check_labels("SNGANDiscriminator", labels, self.num_classes)
        features = self.act(self.blocks(images)).sum((2, 3))
        logits = self.dense(features).squeeze(1)
        if self.embedding is not None:
            logits = logits + (self.embedding(labels) * features).sum(1)
        return logits
