"""The UNIT pair: autoencoders of two domains with a latent space in common, and a discriminator of each domain.

Architecture: M.-Y. Liu, T. Breuel, J. Kautz, "Unsupervised Image-to-Image Translation Networks", NeurIPS 2017, as in
the authors' code of that year (COCOResGen2 and COCODis).
"""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor, nn

from .layers import Layers, stock_layers
from .translation import InstanceNormResBlock, conv_leaky_relu

__all__ = ["Translations", "UNITDiscriminator", "UNITGenerator"]


class Translations(NamedTuple):
    """What is made of a batch of each domain, a and b; ``aba`` is a brought to b and back, and so on."""

    aa: Tensor
    bb: Tensor
    ab: Tensor
    ba: Tensor
    aba: Tensor
    bab: Tensor
    #: Means of the latent codes: of a and b, and of ``ba`` and ``ab``.
    means: Tensor
    cycle_means: Tensor


def _init(network: nn.Module) -> None:
    for module in network.modules():
        if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)):
            nn.init.kaiming_normal_(module.weight)


class UNITGenerator(nn.Module):
    """An encoder and a decoder of each domain; the encoders' last and the decoders' first block are one for both.

    Both encoders start with the same weights, and so do both decoders. A latent code is the encoder's output plus noise
    of variance 1; without noise in evaluation mode.

    Parameters
    ----------
    channels : int
        Width at full resolution, doubled at each of two halvings; 64 is the paper's.
    blocks : int
        Residual blocks of each encoder and decoder beside the shared one; 3 is the paper's.
    image_channels : int, default: 3
        Channels of the images.
    layers : Layers, optional
        The set of layers to build from; stock PyTorch modules by default.
    """

    def __init__(self, channels: int, blocks: int, image_channels: int = 3, layers: Layers | None = None) -> None:
        super().__init__()
        sets = layers or stock_layers()
        wide = 4 * channels

        def residual() -> nn.Module:
            return InstanceNormResBlock(wide, sets, affine=False)

        def encoder() -> nn.Module:
            stages = [nn.Conv2d(image_channels, channels, 7, padding=3, bias=False)]
            stages += [nn.Conv2d(w, 2 * w, 3, 2, 1, bias=False) for w in (channels, 2 * channels)]
            return nn.Sequential(
                *(conv_leaky_relu(conv, sets) for conv in stages), *(residual() for _ in range(blocks))
            )

        def decoder() -> nn.Module:
            stages = [nn.ConvTranspose2d(w, w // 2, 3, 2, 1, 1, bias=False) for w in (wide, wide // 2)]
            last = nn.Conv2d(channels, image_channels, 1)
            return nn.Sequential(
                *(residual() for _ in range(blocks)), *(conv_leaky_relu(conv, sets) for conv in stages), last, nn.Tanh()
            )

        self.encoders = nn.ModuleList([encoder(), encoder()])
        self.shared_encoder = residual()
        self.shared_decoder = residual()
        self.decoders = nn.ModuleList([decoder(), decoder()])
        _init(self)
        # From random weights of their own the domains' codes would have nothing to do with each other at first.
        for modules in (self.encoders, self.decoders):
            modules[1].load_state_dict(modules[0].state_dict())

    def _share(self, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
        """Means of the latent codes of both batches, one after the other; what the shared decoder makes of codes."""
        means = self.shared_encoder(torch.cat([self.encoders[0](a), self.encoders[1](b)]))
        if not self.training:
            return means, self.shared_decoder(means)
        # In the order of a run's batches, where domains take turns: a process's part of a joint draw is its images'.
        noise = torch.randn_like(means)
        return means, self.shared_decoder(means + torch.cat([noise[::2], noise[1::2]]))

    def translate(self, images: Tensor, domain: int) -> Tensor:
        """Bring ``images`` [N, C, H, W] of a domain, 0 or 1, to the other one, by their codes' means."""
        return self.decoders[1 - domain](self.shared_decoder(self.shared_encoder(self.encoders[domain](images))))

    def exchange(self, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
        """Bring ``a`` and ``b``, both [N, C, H, W], to each other's domain: ``ab`` and ``ba`` of :meth:`forward`."""
        _, shared = self._share(a, b)
        return self.decoders[1](shared[: len(a)]), self.decoders[0](shared[len(a) :])

    def forward(self, a: Tensor, b: Tensor) -> Translations:
        """Make all translations of ``a`` and ``b``, both [N, C, H, W]; H and W are multiples of 4."""
        means, shared = self._share(a, b)
        aa, ba = self.decoders[0](shared).split([len(a), len(b)])
        ab, bb = self.decoders[1](shared).split([len(a), len(b)])
        cycle_means, shared = self._share(ba, ab)
        bab, aba = self.decoders[1](shared[: len(b)]), self.decoders[0](shared[len(b) :])
        return Translations(aa, bb, ab, ba, aba, bab, means, cycle_means)


class UNITDiscriminator(nn.Module):
    """A discriminator of each domain, of patches: halvings without normalisation, then a 1×1 convolution.

    Parameters
    ----------
    channels : int
        Width after the first halving, doubled at each further one; 64 is the paper's.
    halvings : int
        6 is the authors'.
    image_channels : int, default: 3
        Channels of the images.
    layers : Layers, optional
        The set of layers to build from; stock PyTorch modules by default.
    """

    def __init__(self, channels: int, halvings: int, image_channels: int = 3, layers: Layers | None = None) -> None:
        super().__init__()
        sets = layers or stock_layers()
        widths = [image_channels, *(channels << stage for stage in range(halvings))]

        def judge() -> nn.Module:
            stages = [nn.Conv2d(before, after, 3, 2, 1, bias=False) for before, after in pairwise(widths)]
            return nn.Sequential(*(conv_leaky_relu(conv, sets) for conv in stages), nn.Conv2d(widths[-1], 1, 1))

        self.judges = nn.ModuleList([judge(), judge()])
        _init(self)

    def forward(self, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
        """Judge images ``a`` and ``b`` [N, C, H, W] by their domains' own discriminators: logits [N, 1, h, w]."""
        return self.judges[0](a), self.judges[1](b)
