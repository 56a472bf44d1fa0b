"""The BigGAN-deep pair: twice as many blocks, each a bottleneck whose shortcut drops or adds channels.

Architecture: A. Brock, J. Donahue, K. Simonyan, "Large Scale GAN Training for High Fidelity Natural Image Synthesis",
ICLR 2019, appendix B, figure 16 and tables 7 and 8.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn

from .attention import AttentiveGenerator, ProjectionDiscriminator, SelfAttention, check_labels, starting_from
from .biggan import class_embedding, conditioned, discriminator_widths, generator_widths, halvings
from .layers import Layers, stock_layers

__all__ = ["BigGANDeepDiscriminator", "BigGANDeepGenerator"]


class BigGANDeepGenerator(AttentiveGenerator):
    """The whole noise and the label's embedding, joined, make the 4×4 map and condition every block.

    The last convolution returns as many channels as it is given, as the published generator's does, whose parameters
    are counted with them; the image is the first ones.

    Parameters
    ----------
    latent_dim : int, default: 128
        Length of the noise vector.
    channels : int, default: 128
        Unit of the widths, at least ``image_channels``; 128 is the paper's.
    image_size, image_channels, num_classes, embedding_dim, attention, layers
        As for :class:`~fastgan.models.biggan.BigGANGenerator`.
    """

    def __init__(
        self,
        latent_dim: int = 128,
        channels: int = 128,
        image_size: int = 128,
        image_channels: int = 3,
        num_classes: int | None = 1000,
        embedding_dim: int = 128,
        attention: int | None = 64,
        layers: Layers | None = None,
    ) -> None:
        widths = generator_widths(channels, image_size, attention)
        if widths[-1] < image_channels:
            raise ValueError(
                f"BigGANDeepGenerator: channels must be at least image_channels, {image_channels}, got {channels}"
            )
        layers = starting_from(layers or stock_layers(), nn.init.orthogonal_)
        condition_dim = latent_dim + (0 if num_classes is None else embedding_dim)
        norm = conditioned(condition_dim, layers)
        blocks: list[nn.Module] = []
        for i, (n_in, n_out) in enumerate(pairwise(widths)):
            blocks += [
                layers.block_up(n_in, n, norm=norm, wrap=layers.spectral_norm, bottleneck=True, upsample=up)
                for n, up in ((n_in, False), (n_out, True))
            ]
            if attention == 8 << i:
                blocks.append(SelfAttention(n_out, layers))
        super().__init__(condition_dim, blocks, (widths[0], widths[-1]), widths[-1], layers)
        self.num_classes = num_classes
        self.image_channels = image_channels
        self.embedding = class_embedding(num_classes, embedding_dim)
        layers.group_spectral_norm(self)

    def forward(self, latent: Tensor, labels: Tensor | None = None) -> Tensor:
        """Make images; see :meth:`fastgan.models.biggan.BigGANGenerator.forward`."""
        check_labels(self, labels, self.num_classes)
        condition = latent if self.embedding is None else torch.cat([latent, self.embedding(labels)], 1)
        return self.synthesize(condition, [(condition,)] * len(self.blocks))[:, : self.image_channels]


class BigGANDeepDiscriminator(ProjectionDiscriminator):
    """A 3×3 convolution, then at each size a block that halves it and a plain one; spectral norm on every weight.

    Parameters
    ----------
    channels : int, default: 128
        Unit of the widths; 128 is the paper's.
    image_size, image_channels, num_classes, attention, layers
        As for :class:`~fastgan.models.biggan.BigGANDiscriminator`.
    """

    def __init__(
        self,
        channels: int = 128,
        image_size: int = 128,
        image_channels: int = 3,
        num_classes: int | None = 1000,
        attention: int | None = 64,
        layers: Layers | None = None,
    ) -> None:
        layers = starting_from(layers or stock_layers(), nn.init.orthogonal_)
        widths = discriminator_widths(channels, image_size, attention)
        blocks: list[nn.Module] = [layers.spectral_norm(nn.Conv2d(image_channels, widths[0], 3, padding=1))]
        for i, (n_in, n_out) in enumerate(pairwise(widths)):
            down = i < halvings(image_size)
            blocks += [
                layers.block_down(n, n_out, wrap=layers.spectral_norm, bottleneck=True, downsample=halves)
                for n, halves in ((n_in, down), (n_out, False))
            ]
            if down and attention == image_size >> (i + 1):
                blocks.append(SelfAttention(n_out, layers))
        super().__init__(blocks, widths[-1], num_classes, layers)
