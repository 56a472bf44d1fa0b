"""StarGAN: one generator for all pairs of several domains, told which by its input; a critic that also tells domains.

Y. Choi, M. Choi, M. Kim, J.-W. Ha, S. Kim, J. Choo, "StarGAN: Unified Generative Adversarial Networks for Multi-Domain
Image-to-Image Translation", CVPR 2018.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fastgan.models.layers import Layers
from fastgan.models.stargan import StarGANDiscriminator, StarGANGenerator
from fastgan.penalties import WGANGP

from .adversarial import check_positive
from .config import ConfigError, setting
from .translation import TranslationConfig, TranslationRecipe

__all__ = ["StarGAN", "StarGANConfig"]


@dataclass
class StarGANConfig(TranslationConfig):
    """Settings of a run; the defaults are the preset ``paper``."""

    steps: int = setting(50_000, "generator updates in the whole run", free=True)
    batch_size: int = setting(16, "images a process uses in one update")
    n_dis: int = setting(5, "critic updates before each generator update")
    metric_every: int = setting(1000, "steps between measurements of translations, 0 for never", free=True)
    classification_weight: float = setting(1.0, "λ_cls, weight of the classification of domains")
    cycle_weight: float = setting(10.0, "λ_rec, weight of the way back to the input")
    penalty_weight: float = setting(10.0, "λ_gp, weight of the gradient penalty")
    identity_weight: float = setting(0.0, "weight of images staying as they are where the target is their own domain")

    def __post_init__(self) -> None:
        super().__post_init__()
        check_positive(self, "classification_weight", "cycle_weight", "penalty_weight")
        if not self.identity_weight >= 0:
            raise ConfigError(f"identity_weight must not be negative, got {self.identity_weight}")


class StarGAN(TranslationRecipe):
    """See the module."""

    name = "stargan"
    Config = StarGANConfig
    # paper: sections 3.3 and 5.3 (CelebA at 128×128): Adam of rate 1e-4, constant for 10 epochs and falling to 0 in 10
    # more (250,000 critic updates of 16 images in all), betas 0.5 and 0.999, 5 critic updates, λ = 1, 10, 10.
    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "paper": {},
        "small": {
            "image_size": 32, "steps": 2000, "batch_size": 8, "n_dis": 1, "g_channels": 16, "d_channels": 32,
            "blocks": 3, "halvings": 4, "g_lr": 2e-3, "d_lr": 3e-4, "cycle_weight": 20.0, "identity_weight": 60.0,
            "ema_decay": 0.99, "sample_every": 200, "metric_every": 200, "log_every": 50,
        },
    }  # fmt: skip
    default_preset = "small"
    shardable = False

    def domains(self, num_classes: int) -> Sequence[int]:
        """See ``TranslationRecipe.domains``: all."""
        if num_classes < 2:
            raise ConfigError(f"stargan needs at least two domains, {self.config.data} has {num_classes}")
        return range(num_classes)

    def networks(self, layers: Layers) -> tuple[nn.Module, nn.Module]:
        """See ``Recipe.networks``."""
        c, domains = self.config, len(self.labels)
        critic = StarGANDiscriminator(c.d_channels, c.halvings, domains, c.image_size, self.image_channels, layers)
        penalized = layers.penalize(critic, (WGANGP(c.penalty_weight),), select=0)
        return StarGANGenerator(c.g_channels, c.blocks, domains, self.image_channels, layers), penalized

    def discriminator_loss(
        self, discriminator: nn.Module, generator: Any, images: Tensor, labels: Tensor | None
    ) -> Tensor:
        """See ``Recipe.discriminator_loss``: equations 1, 2 and 8 of the paper."""
        assert labels is not None
        images = self._flip(images)
        with torch.no_grad():
            fakes = generator.translate(images, self._targets(labels))
        (real, domains), (fake, _), penalty = discriminator(images, fake=fakes)
        classification = F.cross_entropy(domains, labels)
        return self.loss.discriminator(real, fake) + penalty + self.config.classification_weight * classification

    def generator_loss(self, generator: nn.Module, discriminator: Any, images: Tensor, labels: Tensor | None) -> Tensor:
        """See ``Recipe.generator_loss``: equations 1, 3 and 4 of the paper."""
        assert labels is not None
        c, images, targets = self.config, self._flip(images), self._targets(labels)
        translated, back = generator(images, targets, labels)
        fake, domains = discriminator.discriminator(translated)
        classification = F.cross_entropy(domains, targets)
        loss = self.loss.generator(fake) + c.classification_weight * classification
        loss = loss + c.cycle_weight * F.l1_loss(back, images)
        if c.identity_weight:
            changes = (translated - images).abs().mean((1, 2, 3))
            loss = loss + c.identity_weight * (changes * (targets == labels)).mean()
        return loss

    def translate(self, generator: Any, images: Tensor, domains: Tensor, targets: Tensor) -> Tensor:
        """See ``TranslationRecipe.translate``."""
        return generator.translate(images, targets.to(images.device))

    def _targets(self, labels: Tensor) -> Tensor:
        """Domains to translate to, any of them for any image."""
        return torch.randint(len(self.labels), (len(labels),), device=labels.device)
