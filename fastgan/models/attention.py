"""What the networks of SAGAN and BigGAN have in common: self-attention in residual networks, the projection of labels.

H. Zhang, I. Goodfellow, D. Metaxas, A. Odena, "Self-Attention Generative Adversarial Networks", ICML 2019; keys and
values are pooled as in its authors' code. Projection: T. Miyato, M. Koyama, "cGANs with Projection Discriminator", ICLR
2018.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .layers import Layers

__all__ = ["AttentiveGenerator", "ProjectionDiscriminator", "SelfAttention", "check_labels", "starting_from"]

BASE_SIZE = 4


def starting_from(layers: Layers, init: Callable[[Tensor], Any]) -> Layers:
    """The same layers, but each normalised one starts from weights filled by ``init`` and from zero biases."""

    def spectral_norm(module: nn.Module) -> nn.Module:
        init(cast(Tensor, module.weight))
        if isinstance(bias := getattr(module, "bias", None), Tensor):
            nn.init.zeros_(bias)
        return layers.spectral_norm(module)

    return dataclasses.replace(layers, spectral_norm=spectral_norm)


def check_labels(network: nn.Module, labels: Tensor | None, num_classes: int | None) -> None:
    """ValueError unless labels are given if and only if the network is conditional."""
    if (labels is None) != (num_classes is None):
        expected = "no labels (num_classes is None)" if num_classes is None else f"labels in [0, {num_classes})"
        raise ValueError(f"{type(network).__name__}: expected {expected}, got {'none' if labels is None else 'labels'}")


class SelfAttention(nn.Module):
    """Adds to each position a mean of all positions' values, weighted by how well their keys match its query.

    Keys and values are pooled 2×2. The gain of what is added is learned, from 0.

    Parameters
    ----------
    channels : int
        Of the feature map, a multiple of 8.
    layers : Layers
        The set of layers to build from.
    """

    def __init__(self, channels: int, layers: Layers) -> None:
        super().__init__()
        if channels < 8 or channels % 8:
            raise ValueError(f"SelfAttention: channels must be a multiple of 8, got {channels}")

        def conv(in_channels: int, out_channels: int) -> nn.Module:
            return layers.spectral_norm(nn.Conv2d(in_channels, out_channels, 1, bias=False))

        self.theta = conv(channels, channels // 8)
        self.phi = conv(channels, channels // 8)
        self.g = conv(channels, channels // 2)
        self.o = conv(channels // 2, channels)
        self.gamma = nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        """``x`` [N, channels, H, W], of even height and width, plus what each of its positions attends to."""
        # [N, 1 head, positions, channels]
        query, key, value = (
            features.flatten(2).mT.unsqueeze(1)
            for features in (self.theta(x), F.max_pool2d(self.phi(x), 2), F.max_pool2d(self.g(x), 2))
        )
        # The published layer does not divide by the square root of the keys' length.
        attended = F.scaled_dot_product_attention(query, key, value, scale=1.0)
        attended = attended.squeeze(1).mT.unflatten(2, x.shape[2:])
        return torch.addcmul(x, self.gamma, self.o(attended))


class AttentiveGenerator(nn.Module):
    """Dense 4×4, blocks, batch norm, ReLU, 3×3 convolution, tanh; spectral norm on every weight.

    Parameters
    ----------
    in_features : int
        Length of the vector that the 4×4 map is made of.
    blocks : sequence of nn.Module
        Upsampling blocks of ``Layers.block_up`` and any :class:`SelfAttention` between them.
    channels : tuple of int
        Width at 4×4 and width of the last block.
    out_channels : int
        What the last convolution returns.
    layers : Layers
        The set of layers to build from.
    """

    def __init__(
        self,
        in_features: int,
        blocks: Sequence[nn.Module],
        channels: tuple[int, int],
        out_channels: int,
        layers: Layers,
    ) -> None:
        super().__init__()
        first, last = channels
        self.dense = layers.spectral_norm(nn.Linear(in_features, BASE_SIZE**2 * first))
        self.blocks = nn.ModuleList(blocks)
        self.norm = layers.batch_norm(last)
        self.conv = layers.spectral_norm(nn.Conv2d(last, out_channels, 3, padding=1))

    def synthesize(self, vector: Tensor, conditions: Sequence[tuple[Tensor, ...]]) -> Tensor:
        """Make images of ``vector`` [N, in_features], given what the norms of each upsampling block take."""
        x = self.dense(vector).unflatten(1, (-1, BASE_SIZE, BASE_SIZE))
        remaining = iter(conditions)
        statistics = None  # of x, where a block has gathered them for the norm after it
        for block in self.blocks:
            if isinstance(block, SelfAttention):
                x, statistics = block(x), None
            else:
                x, statistics = block(x, *next(remaining), statistics=statistics, return_statistics=True)
        x = self.norm(x) if statistics is None else self.norm(x, statistics)
        return torch.tanh(self.conv(x))


class ProjectionDiscriminator(nn.Module):
    """Blocks, ReLU, sum over positions; a linear function of that plus its product with the label's embedding.

    Parameters
    ----------
    blocks : sequence of nn.Module
        From images to a feature map.
    features : int
        Channels of that map.
    num_classes : int or None
        Number of labels; ``None`` makes an unconditional discriminator.
    layers : Layers
        The set of layers to build from.
    """

    def __init__(self, blocks: Sequence[nn.Module], features: int, num_classes: int | None, layers: Layers) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.blocks = nn.Sequential(*blocks)
        self.act = nn.ReLU(inplace=True)
        self.dense = layers.spectral_norm(nn.Linear(features, 1))
        self.embedding: nn.Module | None = None
        if num_classes is not None:
            self.embedding = layers.spectral_norm(nn.Embedding(num_classes, features))
        layers.group_spectral_norm(self)

    def forward(self, images: Tensor, labels: Tensor | None = None) -> Tensor:
        """Judge images.

        Parameters
        ----------
        images : Tensor
            [N, image_channels, image_size, image_size], in [-1, 1].
        labels : Tensor, optional
            int64 [N], in [0, num_classes); given if and only if the discriminator is conditional.

        Returns
        -------
        Tensor
            One logit an image, [N].
        """
        check_labels(self, labels, self.num_classes)
        features = self.act(self.blocks(images)).sum((2, 3))
        logits = self.dense(features).squeeze(1)
        return logits if self.embedding is None else logits + (self.embedding(labels) * features).sum(1)
