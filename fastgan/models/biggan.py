"""The BigGAN discriminator for 128×128 images.

Architecture: A. Brock, J. Donahue, K. Simonyan, "Large Scale GAN Training for High Fidelity Natural Image Synthesis",
ICLR 2019, appendix B, the table for 128×128. Self-attention: H. Zhang, I. Goodfellow, D. Metaxas, A. Odena,
"Self-Attention Generative Adversarial Networks", ICML 2019, with the pooled keys and values of BigGAN's authors.
"""

from __future__ import annotations

import dataclasses
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .layers import Layers, stock_layers

__all__ = ["BigGANDiscriminator"]

_WIDTHS = (1, 2, 4, 8, 16, 16)


def _from_orthogonal(layers: Layers) -> Layers:
    """The same layers, but each normalised one starts from orthogonal weights and zero biases."""

    def spectral_norm(module: nn.Module) -> nn.Module:
        nn.init.orthogonal_(cast(Tensor, module.weight))
        if isinstance(bias := getattr(module, "bias", None), Tensor):
            nn.init.zeros_(bias)
        return layers.spectral_norm(module)

    return dataclasses.replace(layers, spectral_norm=spectral_norm)


class SelfAttention(nn.Module):
    """Adds to each position a mean of all positions' values, weighted by how well their keys match its query.

    Keys and values are pooled 2×2. The gain of what is added is learned, from 0.
    """

    def __init__(self, channels: int, layers: Layers) -> None:
        super().__init__()

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


class BigGANDiscriminator(nn.Module):
    """Five downsampling residual blocks and a plain one, attention after the first; spectral norm on every weight.

    Parameters
    ----------
    channels : int, default: 96
        Width of the first block, a multiple of 8; 96 is the paper's. The last blocks are 16 times as wide.
    image_channels : int, default: 3
        Channels of the images judged.
    num_classes : int, default: 1000
        Number of labels for the projection.
    layers : Layers, optional
        The set of layers to build from; stock PyTorch modules by default.
    """

    def __init__(
        self, channels: int = 96, image_channels: int = 3, num_classes: int = 1000, layers: Layers | None = None
    ) -> None:
        super().__init__()
        if channels % 8:
            raise ValueError(f"BigGANDiscriminator: channels must be a multiple of 8, got {channels}")
        layers = _from_orthogonal(layers or stock_layers())
        widths = [image_channels, *(channels * factor for factor in _WIDTHS)]
        last = len(_WIDTHS) - 1
        blocks: list[nn.Module] = [
            layers.block_down(
                widths[i], widths[i + 1], wrap=layers.spectral_norm, preactivation=i > 0, downsample=i < last
            )
            for i in range(len(_WIDTHS))
        ]
        blocks.insert(1, SelfAttention(channels, layers))
        self.blocks = nn.Sequential(*blocks)
        self.act = nn.ReLU(inplace=True)
        self.dense = layers.spectral_norm(nn.Linear(widths[-1], 1))
        self.embedding = layers.spectral_norm(nn.Embedding(num_classes, widths[-1]))
        layers.group_spectral_norm(self)

    def forward(self, images: Tensor, labels: Tensor) -> Tensor:
        """Judge images.

        Parameters
        ----------
        images : Tensor
            [N, image_channels, 128, 128], in [-1, 1].
        labels : Tensor
            int64 [N], in [0, num_classes).

        Returns
        -------
        Tensor
            One logit an image, [N].
        """
        features = self.act(self.blocks(images)).sum((2, 3))
        return self.dense(features).squeeze(1) + (self.embedding(labels) * features).sum(1)
