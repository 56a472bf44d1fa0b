"""UNIT: two domains' autoencoders with one latent space between them, and a discriminator of each domain.

M.-Y. Liu, T. Breuel, J. Kautz, "Unsupervised Image-to-Image Translation Networks", NeurIPS 2017.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fastgan.data import AlternatingDomains, ImageData
from fastgan.models.layers import Layers
from fastgan.models.unit import UNITDiscriminator, UNITGenerator

from .adversarial import check_not_negative, check_positive
from .config import ConfigError, setting
from .rates import decay_setting
from .translation import TranslationConfig, TranslationRecipe

__all__ = ["UNIT", "UNITConfig"]


@dataclass
class UNITConfig(TranslationConfig):
    """Settings of a run; the defaults are the preset ``paper``."""

    steps: int = setting(500_000, "generator updates in the whole run", free=True)
    batch_size: int = setting(2, "images a process uses in one update, half of them of each domain")
    metric_every: int = setting(5000, "steps between measurements of translations, 0 for never", free=True)
    ema_decay: float = setting(0.0, "decay of the generator's moving average a step, in [0, 1)")
    first: int = setting(0, "label of the one domain")
    second: int = setting(1, "label of the other domain")
    loss: str = setting("non_saturating", "the pair of losses, of fastgan.losses")
    blocks: int = setting(3, "residual blocks of each encoder and decoder, beside a shared one")
    weight_decay: float = setting(1e-4, "Adam's L2 penalty on all weights")
    decay_from: float = decay_setting(1.0)
    adversarial_weight: float = setting(10.0, "λ0, weight of the adversarial losses")
    kl_weight: float = setting(0.1, "λ1, weight of the codes' squares")
    reconstruction_weight: float = setting(100.0, "λ2, weight of the images' reconstruction")
    cycle_kl_weight: float = setting(0.1, "λ3, weight of the squares of the translations' codes")
    cycle_weight: float = setting(100.0, "λ4, weight of the way back to the input")

    def __post_init__(self) -> None:
        super().__post_init__()
        check_positive(self, "adversarial_weight", "reconstruction_weight", "cycle_weight")
        check_not_negative(self, "first", "second", "kl_weight", "cycle_kl_weight")
        if self.first == self.second:
            raise ConfigError(f"first and second must be different labels, got {self.first}")
        if self.batch_size // self.accumulate % 2:
            raise ConfigError(
                f"batch_size must be a multiple of 2 accumulate={self.accumulate}, for two domains, "
                f"got {self.batch_size}"
            )


class UNIT(TranslationRecipe):
    """See the module."""

    name = "unit"
    Config = UNITConfig
    forward_only = False
    # paper: section 4 (Adam of rate 1e-4, betas 0.5 and 0.999, one image of each domain a step, λ = 10, 0.1, 100, 0.1,
    # 100) and the settings that the authors published in 2017 (weight decay, 500,000 steps, 6 layers of discriminator).
    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "paper": {},
        "small": {
            "image_size": 32, "steps": 700, "batch_size": 8, "g_channels": 16, "d_channels": 32, "blocks": 2,
            "halvings": 3, "g_lr": 1e-3, "d_lr": 2e-4, "decay_from": 0.5, "ema_decay": 0.99, "sample_every": 100,
            "metric_every": 100, "log_every": 50,
        },
    }  # fmt: skip
    default_preset = "small"

    def domains(self, num_classes: int) -> Sequence[int]:
        """See ``TranslationRecipe.domains``."""
        return self.config.first, self.config.second

    def observe(self, data: ImageData, held_out: ImageData | None) -> ImageData:
        """See ``Recipe.observe``: batches have as many images of each domain, in turn."""
        return super().observe(AlternatingDomains(data, *self.labels), held_out)

    def networks(self, layers: Layers) -> tuple[nn.Module, nn.Module]:
        """See ``Recipe.networks``."""
        c = self.config
        return (
            UNITGenerator(c.g_channels, c.blocks, self.image_channels, layers),
            UNITDiscriminator(c.d_channels, c.halvings, self.image_channels, layers),
        )

    def discriminator_loss(
        self, discriminator: nn.Module, generator: Any, images: Tensor, labels: Tensor | None
    ) -> Tensor:
        """See ``Recipe.discriminator_loss``: equation 6 of the paper, for both domains."""
        images = self._flip(images)
        a, b = images[::2], images[1::2]
        with torch.no_grad():
            ab, ba = generator.exchange(a, b)
        judged = discriminator(torch.cat([a, ba]), torch.cat([b, ab]))
        losses = [self.loss.discriminator(*logits.chunk(2)) for logits in judged]
        return self.config.adversarial_weight * (losses[0] + losses[1])

    def generator_loss(
        self, generator: nn.Module, discriminator: nn.Module, images: Tensor, labels: Tensor | None
    ) -> Tensor:
        """See ``Recipe.generator_loss``: equations 4 to 8 of the paper."""
        c, images = self.config, self._flip(images)
        a, b = images[::2], images[1::2]
        made = generator(a, b)
        fooled = sum(self.loss.generator(logits) for logits in discriminator(made.ba, made.ab))
        reconstruction = F.l1_loss(made.aa, a) + F.l1_loss(made.bb, b)
        cycle = F.l1_loss(made.aba, a) + F.l1_loss(made.bab, b)
        # Of both domains together: twice the mean over both halves.
        kl, cycle_kl = (2 * means.square().mean() for means in (made.means, made.cycle_means))
        return (
            c.adversarial_weight * fooled
            + c.reconstruction_weight * reconstruction
            + c.kl_weight * kl
            + c.cycle_weight * cycle
            + c.cycle_kl_weight * cycle_kl
        )

    def translate(self, generator: Any, images: Tensor, domains: Tensor, targets: Tensor) -> Tensor:
        """See ``TranslationRecipe.translate``."""
        made = torch.empty_like(images)
        for domain in (0, 1):
            if len(places := (domains == domain).nonzero().flatten().to(images.device)):
                made[places] = generator.translate(images[places], domain)
        return made
