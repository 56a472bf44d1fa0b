"""DCGAN: convolutions of stride 2 and 1/2, batch norm in both networks.

A. Radford, L. Metz, S. Chintala, "Unsupervised Representation Learning with Deep Convolutional Generative Adversarial
Networks", ICLR 2016.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from fastgan.models.dcgan import DCGANDiscriminator, DCGANGenerator
from fastgan.models.layers import Layers

from .adversarial import AdversarialConfig, AdversarialRecipe, check_image_size, check_positive
from .config import ConfigError, setting

__all__ = ["DCGAN", "DCGANConfig"]


@dataclass
class DCGANConfig(AdversarialConfig):
    """Settings of a run; the defaults are the preset ``paper``."""

    image_size: int = setting(64, "height and width the images are brought to, a power of two")
    steps: int = setting(120_000, "generator updates in the whole run", free=True)
    batch_size: int = setting(128, "images a process uses in one update")
    metric_every: int = setting(1000, "steps between Fréchet distances, 0 for never", free=True)
    latent_dim: int = setting(100, "length of the noise vector")
    g_channels: int = setting(128, "width before the generator's last convolution, doubled at each lower resolution")
    d_channels: int = setting(128, "width of the discriminator's first convolution, doubled at each lower resolution")
    beta1: float = setting(0.5, "Adam's first decay")
    beta2: float = setting(0.999, "Adam's second decay")

    def __post_init__(self) -> None:
        super().__post_init__()
        check_positive(self, "g_channels", "d_channels")
        check_image_size(self, 8, 16, 32, 64, 128, 256)
        if self.conditional:
            raise ConfigError(f"conditional=true is not for {type(self).__name__}, whose networks take no labels")


class DCGAN(AdversarialRecipe):
    """See the module."""

    name = "dcgan"
    Config = DCGANConfig
    # paper: figure 1 and section 4 (batches of 128, Adam of rate 0.0002 and momentum 0.5); the length of the run and
    # Adam's second decay are not given there: the latter is Adam's own.
    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "paper": {},
        "small": {
            "image_size": 32, "steps": 3000, "batch_size": 64, "g_channels": 32, "d_channels": 32, "latent_dim": 64,
            "ema_decay": 0.99, "sample_every": 500, "metric_every": 1000,
        },
    }  # fmt: skip
    default_preset = "small"

    def build(self, layers: Layers) -> tuple[nn.Module, nn.Module]:
        """See ``AdversarialRecipe.build``."""
        c = self.config
        shape = (self.image_channels, c.image_size)
        return (
            DCGANGenerator(c.latent_dim, c.g_channels, *shape, layers),
            DCGANDiscriminator(c.d_channels, *shape, layers),
        )

    def latent(self, n: int, **options: Any) -> Tensor:
        """Noise of the paper's kind: uniform in [-1, 1]."""
        return 2 * torch.rand(n, self.config.latent_dim, **options) - 1
