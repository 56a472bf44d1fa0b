"""SNGAN at 32×32: spectral normalisation, hinge loss, residual networks, optionally conditional by projection.

T. Miyato et al., "Spectral Normalization for Generative Adversarial Networks", ICLR 2018; T. Miyato, M. Koyama, "cGANs
with Projection Discriminator", ICLR 2018.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from fastgan.models.layers import Layers
from fastgan.models.sngan import SNGANDiscriminator, SNGANGenerator

from .adversarial import AdversarialConfig, AdversarialRecipe, check_image_size, check_positive
from .config import setting
from .rates import check_decay_from, decay_setting, set_rates

__all__ = ["SNGAN", "SNGANConfig"]


@dataclass
class SNGANConfig(AdversarialConfig):
    """Settings of an SNGAN run; the defaults are the preset ``paper``."""

    image_sizes: ClassVar[tuple[int, ...]] = (32,)

    steps: int = setting(50_000, "generator updates in the whole run", free=True)
    n_dis: int = setting(5, "discriminator updates before each generator update")
    metric_every: int = setting(1000, "steps between Fréchet distances, 0 for never", free=True)
    loss: str = setting("hinge", "the pair of losses, of fastgan.losses")
    g_channels: int = setting(256, "width of the generator")
    d_channels: int = setting(128, "width of the discriminator")
    decay_from: float = decay_setting(1.0)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_positive(self, "g_channels", "d_channels")
        check_image_size(self, *self.image_sizes)
        check_decay_from(self)


class SNGAN(AdversarialRecipe):
    """See the module."""

    name = "sngan"
    Config = SNGANConfig
    # paper: the ResNet of Miyato et al., table 4, with the optimiser settings of their ResNet experiments (constant
    # learning rate here).
    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "paper": {},
        "small": {
            "steps": 1000, "batch_size": 32, "n_dis": 1, "g_channels": 64, "d_channels": 64, "latent_dim": 64,
            "conditional": True, "g_lr": 4e-4, "d_lr": 8e-4, "decay_from": 0.6, "ema_decay": 0.99, "sample_every": 250,
            "metric_every": 500, "log_every": 25,
        },
    }  # fmt: skip
    default_preset = "small"

    def build(self, layers: Layers) -> tuple[nn.Module, nn.Module]:
        """See ``AdversarialRecipe.build``."""
        c = self.config
        generator = SNGANGenerator(c.latent_dim, c.g_channels, self.image_channels, self.num_classes, layers)
        return generator, SNGANDiscriminator(c.d_channels, self.image_channels, self.num_classes, layers)

    def prepare(self, step: int, g_optimizer: Optimizer, d_optimizer: Optimizer, discriminator: nn.Module) -> None:
        """See ``Recipe.prepare``: the learning rates fall where that is wanted."""
        set_rates(self.config, step, g_optimizer, d_optimizer)

    def networks(self, layers: Layers) -> tuple[nn.Module, nn.Module]:
        """See ``Recipe.networks``; there is no penalty unless the settings name one."""
        return super().networks(layers) if self.config.penalty else self.build(layers)

    def discriminator_loss(
        self, discriminator: nn.Module, generator: nn.Module, images: Tensor, labels: Tensor | None
    ) -> Tensor:
        """See ``Recipe.discriminator_loss``; without a penalty, one batch of both kinds, for one power iteration."""
        if self.config.penalty:
            return super().discriminator_loss(discriminator, generator, images, labels)
        n = len(images)
        latent, fake_labels = self._noise(n, images.device)
        with torch.no_grad():
            fakes = generator(latent, *fake_labels)
        both = [torch.cat([labels, fake]) for fake in fake_labels if labels is not None]
        logits = discriminator(torch.cat([images, fakes]), *both)
        return self.loss.discriminator(logits[:n], logits[n:])
