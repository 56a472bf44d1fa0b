"""The SNGAN ResNet pair for 32×32 images.

Architecture: T. Miyato, T. Kataoka, M. Koyama, Y. Yoshida, "Spectral Normalization for Generative Adversarial
Networks", ICLR 2018, appendix B.4, table 4 (ResNet for CIFAR-10). Conditioning on labels: T. Miyato, M. Koyama,
"cGANs with Projection Discriminator", ICLR 2018 (projection in the discriminator, conditional batch norm in the
generator).

The 1×1 convolutions of the shortcuts are applied on the low-resolution side: they commute with nearest upsampling and
with average pooling, so the function and its gradients are those of the paper for a quarter of the work.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .layers import Layers, stock_layers

__all__ = ["SNGANDiscriminator", "SNGANGenerator"]

IMAGE_SIZE = 32
_BASE_SIZE = 4


def _init(module: nn.Module, gain: float) -> None:
    """Xavier uniform weights and zero biases, as in the authors' code; before any spectral norm is applied."""
    nn.init.xavier_uniform_(cast(Tensor, module.weight), gain)
    if isinstance(bias := getattr(module, "bias", None), Tensor):
        nn.init.zeros_(bias)


def _conv(in_channels: int, out_channels: int, kernel_size: int, gain: float = 2**0.5) -> nn.Conv2d:
    conv = nn.Conv2d(in_channels, out_channels, kernel_size, padding=kernel_size // 2)
    _init(conv, gain)
    return conv


def _check_labels(function: str, labels: Tensor | None, num_classes: int | None) -> None:
    if (labels is None) != (num_classes is None):
        expected = "no labels (num_classes is None)" if num_classes is None else f"labels in [0, {num_classes})"
        raise ValueError(f"{function}: expected {expected}, got {'none' if labels is None else 'labels'}")


class ConditionalBatchNorm2d(nn.Module):
    """Batch norm whose scale and shift are looked up by the sample's label."""

    def __init__(self, num_features: int, num_classes: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(num_features, affine=False)
        self.weight = nn.Embedding(num_classes, num_features)
        self.bias = nn.Embedding(num_classes, num_features)
        nn.init.ones_(self.weight.weight)
        nn.init.zeros_(self.bias.weight)

    def forward(self, input: Tensor, labels: Tensor) -> Tensor:
        """Normalise ``input`` [N, C, H, W], then scale and shift by rows ``labels`` [N] of the tables."""
        scale = self.weight(labels)[:, :, None, None]
        shift = self.bias(labels)[:, :, None, None]
        return torch.addcmul(shift, self.norm(input), scale)


class _GeneratorBlock(nn.Module):
    def __init__(self, channels: int, num_classes: int | None, layers: Layers) -> None:
        super().__init__()
        self.norm1 = _norm(channels, num_classes)
        self.act1 = nn.ReLU(inplace=True)
        self.conv1 = _conv(channels, channels, 3)
        self.norm2 = _norm(channels, num_classes)
        self.act2 = nn.ReLU(inplace=True)
        self.conv2 = _conv(channels, channels, 3)
        self.shortcut = _conv(channels, channels, 1, gain=1.0)

    def forward(self, x: Tensor, labels: Tensor | None) -> Tensor:
        h = self.act1(_normalise(self.norm1, x, labels))
        h = self.conv1(F.interpolate(h, scale_factor=2, mode="nearest"))
        h = self.conv2(self.act2(_normalise(self.norm2, h, labels)))
        return h + F.interpolate(self.shortcut(x), scale_factor=2, mode="nearest")


def _norm(channels: int, num_classes: int | None) -> nn.Module:
    return nn.BatchNorm2d(channels) if num_classes is None else ConditionalBatchNorm2d(channels, num_classes)


def _normalise(norm: nn.Module, x: Tensor, labels: Tensor | None) -> Tensor:
    return norm(x) if labels is None else norm(x, labels)


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
        self.blocks = nn.ModuleList(_GeneratorBlock(channels, num_classes, layers) for _ in range(3))
        self.norm = nn.BatchNorm2d(channels)
        self.act = nn.ReLU(inplace=True)
        self.conv = _conv(channels, image_channels, 3, gain=1.0)

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
        for block in self.blocks:
            x = block(x, labels)
        return torch.tanh(self.conv(self.act(self.norm(x))))


class DiscriminatorBlock(nn.Module):
    def __init__(self, in_channels: int, channels: int, layers: Layers, *, first: bool, downsample: bool) -> None:
        super().__init__()
        # The block's input feeds the shortcut too, so the first rectifier must not work in place; on the image
        # itself there is none.
        self.act1 = nn.Identity() if first else nn.ReLU()
        self.conv1 = layers.spectral_norm(_conv(in_channels, channels, 3))
        self.act2 = nn.ReLU(inplace=True)
        self.conv2 = layers.spectral_norm(_conv(channels, channels, 3))
        self.shortcut = (
            layers.spectral_norm(_conv(in_channels, channels, 1, gain=1.0))
            if downsample or in_channels != channels
            else nn.Identity()
        )
        self.pool = nn.AvgPool2d(2) if downsample else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        h = self.conv2(self.act2(self.conv1(self.act1(x))))
        return self.pool(h) + self.shortcut(self.pool(x))


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
        self.blocks = nn.Sequential(
            DiscriminatorBlock(image_channels, channels, layers, first=True, downsample=True),
            DiscriminatorBlock(channels, channels, layers, first=False, downsample=True),
            DiscriminatorBlock(channels, channels, layers, first=False, downsample=False),
            DiscriminatorBlock(channels, channels, layers, first=False, downsample=False),
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
