"""The BigGAN pair for images of 32×32 to 256×256.

Architecture: A. Brock, J. Donahue, K. Simonyan, "Large Scale GAN Training for High Fidelity Natural Image Synthesis",
ICLR 2019, appendix B, tables 4 and 5 (128×128 and 256×256); 64×64 and 32×32 as in the first author's PyTorch code.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from .attention import AttentiveGenerator, ProjectionDiscriminator, SelfAttention, check_labels, starting_from
from .layers import Layers, stock_layers

__all__ = ["BigGANDiscriminator", "BigGANGenerator", "discriminator_widths", "generator_widths"]

#: In units of ``channels``, by image size.
_GENERATOR = {
    32: (4, 4, 4, 4),
    64: (16, 16, 8, 4, 2),
    128: (16, 16, 8, 4, 2, 1),
    256: (16, 16, 8, 8, 4, 2, 1),
}
_DISCRIMINATOR = {
    32: (4, 4, 4, 4),
    64: (1, 2, 4, 8, 16),
    128: (1, 2, 4, 8, 16, 16),
    256: (1, 2, 4, 8, 8, 16, 16),
}


def _widths(table: dict[int, tuple[int, ...]], channels: int, image_size: int, attention: int | None) -> list[int]:
    if image_size not in table:
        raise ValueError(f"BigGAN: image_size must be one of {', '.join(map(str, table))}, got {image_size}")
    sizes = [1 << i for i in range(3, image_size.bit_length() - 1)]
    if attention is not None and attention not in sizes:
        raise ValueError(f"BigGAN: attention must be None or one of {', '.join(map(str, sizes))}, got {attention}")
    return [channels * factor for factor in table[image_size]]


def generator_widths(channels: int, image_size: int, attention: int | None) -> list[int]:
    """Width at 4×4, 8×8 and so on; ValueError for an image size, or a size of attention, that does not exist."""
    return _widths(_GENERATOR, channels, image_size, attention)


def discriminator_widths(channels: int, image_size: int, attention: int | None) -> list[int]:
    """Width of each block (BigGAN-deep: of the first convolution and of each pair of blocks); ValueError as above."""
    return _widths(_DISCRIMINATOR, channels, image_size, attention)


def halvings(image_size: int) -> int:
    """Blocks of the discriminator, from its first, that halve the size: down to 4×4, or to 8×8 from 32×32."""
    return 2 if image_size == 32 else image_size.bit_length() - 3


def conditioned(condition_dim: int, layers: Layers) -> Callable[[int], nn.Module]:
    """Norms whose scale and shift are spectrally normalised linear functions of a vector of ``condition_dim``."""

    def linear(in_features: int, out_features: int, **options: Any) -> nn.Module:
        return layers.spectral_norm(nn.Linear(in_features, out_features, **options))

    return partial(layers.conditioned_batch_norm, condition_dim=condition_dim, linear=linear)


def class_embedding(num_classes: int | None, embedding_dim: int) -> nn.Embedding | None:
    """The embedding that all norms share, orthogonal at the start and without spectral norm."""
    if num_classes is None:
        return None
    embedding = nn.Embedding(num_classes, embedding_dim)
    nn.init.orthogonal_(embedding.weight)
    return embedding


class BigGANGenerator(AttentiveGenerator):
    """The noise in equal chunks: the first makes the 4×4 map, each other one conditions a block, beside the label.

    Parameters
    ----------
    latent_dim : int, default: 120
        Length of the noise vector, a multiple of the number of blocks and one (6 for 128×128, where 120 is the paper's;
        140 for 256×256).
    channels : int, default: 96
        Unit of the widths; 96 is the paper's.
    image_size : {32, 64, 128, 256}, default: 128
    image_channels : int, default: 3
        Channels of the images made.
    num_classes : int, optional
        Number of labels, 1000 by default; ``None`` makes an unconditional generator.
    embedding_dim : int, default: 128
        Length of the labels' embedding.
    attention : int, optional
        Size of the feature maps with self-attention, 64 by default; ``None`` for none.
    layers : Layers, optional
        The set of layers to build from; stock PyTorch modules by default.
    """

    def __init__(
        self,
        latent_dim: int = 120,
        channels: int = 96,
        image_size: int = 128,
        image_channels: int = 3,
        num_classes: int | None = 1000,
        embedding_dim: int = 128,
        attention: int | None = 64,
        layers: Layers | None = None,
    ) -> None:
        widths = generator_widths(channels, image_size, attention)
        if latent_dim % len(widths):
            raise ValueError(f"BigGANGenerator: latent_dim must be a multiple of {len(widths)}, got {latent_dim}")
        layers = starting_from(layers or stock_layers(), nn.init.orthogonal_)
        chunk = latent_dim // len(widths)
        norm = conditioned(chunk + (0 if num_classes is None else embedding_dim), layers)
        blocks: list[nn.Module] = []
        for i, (n_in, n_out) in enumerate(pairwise(widths)):
            blocks.append(layers.block_up(n_in, n_out, norm=norm, wrap=layers.spectral_norm))
            if attention == 8 << i:
                blocks.append(SelfAttention(n_out, layers))
        super().__init__(chunk, blocks, (widths[0], widths[-1]), image_channels, layers)
        self.num_classes = num_classes
        self.chunk = chunk
        self.embedding = class_embedding(num_classes, embedding_dim)
        layers.group_spectral_norm(self)

    def forward(self, latent: Tensor, labels: Tensor | None = None) -> Tensor:
        """Make images.

        Parameters
        ----------
        latent : Tensor
            Noise, [N, latent_dim], standard normal.
        labels : Tensor, optional
            int64 [N], in [0, num_classes); given if and only if the generator is conditional.

        Returns
        -------
        Tensor
            Images in [-1, 1], [N, image_channels, image_size, image_size].
        """
        check_labels(self, labels, self.num_classes)
        first, *others = latent.split(self.chunk, 1)
        if self.embedding is not None:
            label = self.embedding(labels)
            others = [torch.cat([label, chunk], 1) for chunk in others]
        return self.synthesize(first, [(condition,) for condition in others])


class BigGANDiscriminator(ProjectionDiscriminator):
    """Downsampling residual blocks and a last plain one, with attention; spectral norm on every weight.

    Parameters
    ----------
    channels : int, default: 96
        Unit of the widths; 96 is the paper's.
    image_size : {32, 64, 128, 256}, default: 128
    image_channels : int, default: 3
        Channels of the images judged.
    num_classes : int, optional
        Number of labels for the projection, 1000 by default; ``None`` makes an unconditional discriminator.
    attention : int, optional
        Size of the feature maps with self-attention, 64 by default; ``None`` for none.
    layers : Layers, optional
        The set of layers to build from; stock PyTorch modules by default.
    init : callable, default: torch.nn.init.orthogonal_
        Fills the initial weights in place.
    """

    def __init__(
        self,
        channels: int = 96,
        image_size: int = 128,
        image_channels: int = 3,
        num_classes: int | None = 1000,
        attention: int | None = 64,
        layers: Layers | None = None,
        init: Callable[[Tensor], Any] = nn.init.orthogonal_,
    ) -> None:
        layers = starting_from(layers or stock_layers(), init)
        widths = [image_channels, *discriminator_widths(channels, image_size, attention)]
        blocks: list[nn.Module] = []
        for i, (n_in, n_out) in enumerate(pairwise(widths)):
            down = i < halvings(image_size)
            blocks.append(
                layers.block_down(n_in, n_out, wrap=layers.spectral_norm, preactivation=i > 0, downsample=down)
            )
            if down and attention == image_size >> (i + 1):
                blocks.append(SelfAttention(n_out, layers))
        super().__init__(blocks, widths[-1], num_classes, layers)
