"""Progressive Growing: WGAN-GP whose networks double their resolution in the course of the run.

T. Karras, T. Aila, S. Laine, J. Lehtinen, "Progressive Growing of GANs for Improved Quality, Stability, and Variation",
ICLR 2018.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import Optimizer

from fastgan import penalties
from fastgan.data import ImageData
from fastgan.losses.logits import wide
from fastgan.models.layers import Layers
from fastgan.models.progan import STATISTICS_GROUP, Growth, ProGANDiscriminator, ProGANGenerator, progan_widths

from .adversarial import (
    AdversarialConfig,
    AdversarialRecipe,
    check_groups,
    check_not_negative,
    check_positive,
    check_unused,
)
from .config import ConfigError, setting
from .growth import GrowthEvaluator, check_sizes, growth_at
from .recipe import Evaluator

__all__ = ["ProGAN", "ProGANConfig"]


@dataclass
class ProGANConfig(AdversarialConfig):
    """Settings of a run; the defaults are the preset ``paper``."""

    image_size: int = setting(1024, "height and width that the images grow to")
    steps: int = setting(850_000, "generator updates in the whole run", free=True)
    batch_size: int = setting(16, "images a process uses in one update")
    metric_every: int = setting(10_000, "steps between Fréchet distances, 0 for never", free=True)
    loss: str = setting("wasserstein", "the pair of losses, of fastgan.losses")
    latent_dim: int = setting(512, "length of the noise vector")
    g_lr: float = setting(1e-3, "learning rate of the generator")
    d_lr: float = setting(1e-3, "learning rate of the critic")
    beta2: float = setting(0.99, "Adam's second decay")
    channels: int = setting(512, "width of the networks at most")
    channel_base: int = setting(16_384, "width times height of the images, where that is less")
    first_size: int = setting(4, "height and width of the images in the beginning")
    phase_steps: int = setting(50_000, "steps in which a resolution is faded in, and again in which it is trained")
    penalty_weight: float = setting(10.0, "λ, weight of the gradient penalty")
    drift_weight: float = setting(1e-3, "ε, weight of the mean square of the critic's outputs on real images")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.penalty:
            check_unused(self, f"with penalty={self.penalty}, which has its own weights", "penalty_weight")
        check_positive(self, "channels", "channel_base", "phase_steps", "penalty_weight")
        check_sizes(self)
        if self.channel_base < self.image_size:
            raise ConfigError(f"channel_base must be at least image_size {self.image_size}, got {self.channel_base}")
        check_not_negative(self, "drift_weight")
        check_groups(self, STATISTICS_GROUP)
        if self.conditional:
            raise ConfigError("conditional=true is not for progan, whose networks take no labels")


class ProGAN(AdversarialRecipe):
    """See the module."""

    name = "progan"
    Config = ProGANConfig
    # Of the resolutions that are not in use.
    leaves_parameters_unused = True
    # paper: CelebA-HQ, appendix A.1: 800,000 images in each phase, in batches of 16; Adam of rate 1e-3, betas 0 and
    # 0.99; λ = 10, ε = 0.001; a moving average of decay 0.999.
    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "paper": {},
        "small": {
            "image_size": 32, "steps": 2000, "latent_dim": 64, "g_lr": 2e-3, "d_lr": 2e-3, "channels": 64,
            "channel_base": 1024, "first_size": 8, "phase_steps": 400, "ema_decay": 0.99, "metric_every": 400,
            "sample_every": 400, "checkpoint_every": 400, "keep_checkpoints": 5,
        },
    }  # fmt: skip
    default_preset = "small"

    def __init__(self, config: ProGANConfig, image_channels: int, num_classes: int | None) -> None:
        super().__init__(config, image_channels, num_classes)
        #: Shared by all networks that are built here, and by the generator's moving average.
        self.growth = Growth(self.growth_at(0))

    def build(self, layers: Layers) -> tuple[nn.Module, nn.Module]:
        """See ``AdversarialRecipe.build``."""
        c = self.config
        widths = progan_widths(c.channels, c.channel_base, c.image_size)
        return (
            ProGANGenerator(c.latent_dim, widths, self.image_channels, self.growth, layers),
            ProGANDiscriminator(widths, self.image_channels, self.growth, layers),
        )

    def penalties(self) -> Sequence[penalties.Penalty]:
        """See ``AdversarialRecipe.penalties``."""
        return (penalties.WGANGP(self.config.penalty_weight),)

    def growth_at(self, step: int) -> float:
        """How far the networks have grown at ``step``."""
        c = self.config
        return growth_at(step, c.phase_steps, c.first_size, c.image_size)

    def prepare(self, step: int, g_optimizer: Optimizer, d_optimizer: Optimizer, discriminator: nn.Module) -> None:
        """See ``Recipe.prepare``: the networks grow. Adam forgets as a fade begins and ends, as the authors' does."""
        self.growth.value = now = self.growth_at(step)
        before = self.growth_at(max(step - 1, 0))
        if (math.floor(before), math.ceil(before)) != (math.floor(now), math.ceil(now)):
            g_optimizer.state.clear()
            d_optimizer.state.clear()

    def discriminator_loss(
        self, discriminator: nn.Module, generator: nn.Module, images: Tensor, labels: Tensor | None
    ) -> Tensor:
        """See ``Recipe.discriminator_loss``."""
        latent, _ = self._noise(len(images), images.device)
        with torch.no_grad():
            fakes = generator(latent)
        real, fake, penalty = discriminator(self.growth.shown(images), fake=fakes)
        drift = self.config.drift_weight * wide(real).square().mean()
        return self.loss.discriminator(real, fake) + penalty + drift

    def generator_loss(
        self, generator: nn.Module, discriminator: nn.Module, images: Tensor, labels: Tensor | None
    ) -> Tensor:
        """See ``Recipe.generator_loss``."""
        return super().generator_loss(generator, discriminator, self.growth.shown(images), labels)

    def sample(self, generator: nn.Module, n: int, labels: Tensor | None, random: torch.Generator) -> Tensor:
        """See ``Recipe.sample``: images that have not grown yet are enlarged, pixel by pixel."""
        return F.interpolate(super().sample(generator, n, labels, random), self.config.image_size).clamp(-1, 1)

    def evaluator(self, data: ImageData, held_out: ImageData | None, samples: int, device: torch.device) -> Evaluator:
        """See ``Recipe.evaluator``: at the resolution of the time."""
        return GrowthEvaluator(self, data, samples, device)
