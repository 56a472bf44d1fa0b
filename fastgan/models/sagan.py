"""The SAGAN pair: residual networks with self-attention, spectral norm in both, for images of 32×32 to 256×256.

Architecture: H. Zhang, I. Goodfellow, D. Metaxas, A. Odena, "Self-Attention Generative Adversarial Networks", ICML
2019, section 4, for 128×128 in the layout of its authors' code, which BigGAN's discriminator kept; the other sizes are
BigGAN's.
"""

from __future__ import annotations

from functools import partial
from itertools import pairwise

from torch import Tensor, nn

from .attention import AttentiveGenerator, SelfAttention, check_labels, starting_from
from .biggan import BigGANDiscriminator, generator_widths
from .layers import Layers, stock_layers

__all__ = ["SAGANDiscriminator", "SAGANGenerator"]


class SAGANGenerator(AttentiveGenerator):
    """The whole noise makes the 4×4 map; the label chooses scale and shift of the blocks' norms.

    Parameters
    ----------
    latent_dim : int, default: 128
        Length of the noise vector.
    channels : int, default: 64
        Unit of the widths; 64 is the paper's.
    image_size : {32, 64, 128, 256}, default: 128
    image_channels : int, default: 3
        Channels of the images made.
    num_classes : int, optional
        Number of labels; ``None`` makes an unconditional generator.
    attention : int, optional
        Size of the feature maps with self-attention, 32 by default; ``None`` for none.
    layers : Layers, optional
        The set of layers to build from; stock PyTorch modules by default.
    """

    def __init__(
        self,
        latent_dim: int = 128,
        channels: int = 64,
        image_size: int = 128,
        image_channels: int = 3,
        num_classes: int | None = None,
        attention: int | None = 32,
        layers: Layers | None = None,
    ) -> None:
        widths = generator_widths(channels, image_size, attention)
        layers = starting_from(layers or stock_layers(), nn.init.xavier_uniform_)
        norm = partial(layers.batch_norm, num_classes=num_classes)
        blocks: list[nn.Module] = []
        for i, (n_in, n_out) in enumerate(pairwise(widths)):
            blocks.append(layers.block_up(n_in, n_out, norm=norm, wrap=layers.spectral_norm))
            if attention == 8 << i:
                blocks.append(SelfAttention(n_out, layers))
        super().__init__(latent_dim, blocks, (widths[0], widths[-1]), image_channels, layers)
        self.num_classes = num_classes
        layers.group_spectral_norm(self)

    def forward(self, latent: Tensor, labels: Tensor | None = None) -> Tensor:
        """Make images; see :meth:`fastgan.models.biggan.BigGANGenerator.forward`."""
        check_labels(self, labels, self.num_classes)
        return self.synthesize(latent, [() if labels is None else (labels,)] * len(self.blocks))


class SAGANDiscriminator(BigGANDiscriminator):
    """BigGAN's discriminator with the initial weights of SAGAN.

    Parameters
    ----------
    channels : int, default: 64
        Unit of the widths; 64 is the paper's.
    image_size : {32, 64, 128, 256}, default: 128
    image_channels : int, default: 3
        Channels of the images judged.
    num_classes : int, optional
        Number of labels for the projection; ``None`` makes an unconditional discriminator.
    attention : int, optional
        Size of the feature maps with self-attention, 32 by default; ``None`` for none.
    layers : Layers, optional
        The set of layers to build from; stock PyTorch modules by default.
    """

    def __init__(
        self,
        channels: int = 64,
        image_size: int = 128,
        image_channels: int = 3,
        num_classes: int | None = None,
        attention: int | None = 32,
        layers: Layers | None = None,
    ) -> None:
        super().__init__(channels, image_size, image_channels, num_classes, attention, layers, nn.init.xavier_uniform_)
