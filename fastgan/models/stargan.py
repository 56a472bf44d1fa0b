"""The StarGAN pair.

Architecture: Y. Choi, M. Choi, M. Kim, J.-W. Ha, S. Kim, J. Choo, "StarGAN: Unified Generative Adversarial Networks for
Multi-Domain Image-to-Image Translation", CVPR 2018, tables 4 and 5.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn

from .layers import Layers, stock_layers
from .translation import InstanceNormResBlock, conv_leaky_relu, conv_norm_relu

__all__ = ["StarGANDiscriminator", "StarGANGenerator"]


class StarGANGenerator(nn.Module):
    """Image and target domain in, image out: two halvings, residual blocks, two doublings.

    Parameters
    ----------
    channels : int
        Width at full resolution, doubled at each halving; 64 is the paper's.
    blocks : int
        Residual blocks; 6 is the paper's.
    num_domains : int
        The target domain is joined to the image as this many maps, one of ones and the others of zeros.
    image_channels : int, default: 3
        Channels of the images.
    layers : Layers, optional
        The set of layers to build from; stock PyTorch modules by default.
    """

    def __init__(
        self, channels: int, blocks: int, num_domains: int, image_channels: int = 3, layers: Layers | None = None
    ) -> None:
        super().__init__()
        layers = layers or stock_layers()
        self.num_domains = num_domains
        stages: list[nn.Module] = [
            conv_norm_relu(nn.Conv2d(image_channels + num_domains, channels, 7, padding=3, bias=False), layers)
        ]
        for width in (channels, 2 * channels):
            stages.append(conv_norm_relu(nn.Conv2d(width, 2 * width, 4, 2, 1, bias=False), layers))
        stages += [InstanceNormResBlock(4 * channels, layers) for _ in range(blocks)]
        for width in (4 * channels, 2 * channels):
            stages.append(conv_norm_relu(nn.ConvTranspose2d(width, width // 2, 4, 2, 1, bias=False), layers))
        self.blocks = nn.Sequential(*stages)
        self.conv = nn.Conv2d(channels, image_channels, 7, padding=3, bias=False)

    def translate(self, images: Tensor, domains: Tensor) -> Tensor:
        """Bring ``images`` [N, image_channels, H, W] to ``domains`` int64 [N]; H and W are multiples of 4."""
        maps = (domains[:, None] == torch.arange(self.num_domains, device=domains.device))[:, :, None, None]
        joined = torch.cat([images, maps.to(images.dtype).expand(-1, -1, *images.shape[2:])], 1)
        return torch.tanh(self.conv(self.blocks(joined)))

    def forward(self, images: Tensor, domains: Tensor, back: Tensor) -> tuple[Tensor, Tensor]:
        """Bring ``images`` to ``domains``, and what is made of them to the domains ``back``; return both."""
        translated = self.translate(images, domains)
        return translated, self.translate(translated, back)


class StarGANDiscriminator(nn.Module):
    """Halvings without normalisation; then whether each patch is real, and the domain of the whole.

    Parameters
    ----------
    channels : int
        Width after the first halving, doubled at each further one; 64 is the paper's.
    halvings : int
        6 is the paper's, for 128×128 pixels.
    num_domains : int
        Domains to tell apart.
    image_size : int
        Height and width, a multiple of 2 to the power of ``halvings``.
    image_channels : int, default: 3
        Channels of the images.
    layers : Layers, optional
        The set of layers to build from; stock PyTorch modules by default.
    """

    def __init__(
        self,
        channels: int,
        halvings: int,
        num_domains: int,
        image_size: int,
        image_channels: int = 3,
        layers: Layers | None = None,
    ) -> None:
        super().__init__()
        layers = layers or stock_layers()
        widths = [image_channels, *(channels << stage for stage in range(halvings))]
        self.blocks = nn.Sequential(
            *(
                conv_leaky_relu(nn.Conv2d(before, after, 4, 2, 1, bias=False), layers)
                for before, after in pairwise(widths)
            )
        )
        self.source = nn.Conv2d(widths[-1], 1, 3, padding=1, bias=False)
        self.domain = nn.Conv2d(widths[-1], num_domains, image_size >> halvings, bias=False)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Judge ``images`` [N, C, H, W]: logits of patches [N, 1, h, w], and of domains [N, num_domains]."""
        features = self.blocks(images)
        return self.source(features), self.domain(features).flatten(1)
