"""R3GAN: the relativistic pairing loss with R1 and R2, and a residual network without normalisation.

N. Huang, A. Gokaslan, V. Kuleshov, J. Tompkin, "The GAN is dead; long live the GAN! A Modern GAN Baseline",
NeurIPS 2024.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, cast

from torch import nn
from torch.optim import Optimizer

from fastgan.models.layers import Layers
from fastgan.models.r3gan import R3GANDiscriminator, R3GANGenerator, r3gan_widths
from fastgan.nn import PenalizedDiscriminator
from fastgan.penalties import R1, R2, Penalty

from .adversarial import (
    AdversarialConfig,
    AdversarialRecipe,
    check_betas,
    check_image_size,
    check_positive,
    check_unused,
)
from .config import ConfigError, setting

__all__ = ["R3GAN", "R3GANConfig"]


@dataclass
class R3GANConfig(AdversarialConfig):
    """Settings of a run; the defaults are the preset ``paper``."""

    steps: int = setting(400_000, "generator updates in the whole run", free=True)
    batch_size: int = setting(512, "images a process uses in one update")
    metric_every: int = setting(1000, "steps between Fréchet distances, 0 for never", free=True)
    ema_decay: float = setting(0.99993, "decay of the generator's moving average a step, in [0, 1)")
    loss: str = setting("relativistic", "the pair of losses, of fastgan.losses")
    conditional: bool = setting(True, "condition both networks on the data's labels")
    latent_dim: int = setting(64, "length of the noise vector")
    channels: int = setting(768, "width of the smallest feature maps, a multiple of 8")
    full_width_size: int = setting(32, "height up to which maps have that width, halved at each further doubling")
    blocks: int = setting(2, "residual blocks at each resolution")
    burn_in: int = setting(39_000, "steps in which learning rates, beta2, gamma and ema_decay reach their final values")
    final_lr: float = setting(5e-5, "both learning rates after the burn-in")
    final_beta2: float = setting(0.99, "Adam's second decay after the burn-in")
    gamma: float = setting(0.05, "weight of R1 and R2 at the start")
    final_gamma: float = setting(0.005, "weight of R1 and R2 after the burn-in")

    def __post_init__(self) -> None:
        super().__post_init__()
        check_positive(self, "channels", "blocks", "burn_in", "final_lr", "gamma", "final_gamma")
        check_image_size(self, 8, 16, 32, 64, 128, 256)
        sizes = (4, 8, 16, 32, 64, 128, 256)
        if self.full_width_size not in sizes:
            raise ConfigError(
                f"full_width_size must be {' or '.join(map(str, sizes))} here, got {self.full_width_size}"
            )
        widths = r3gan_widths(self.channels, self.image_size, self.full_width_size)
        if any(not width or width % 8 for width in widths):
            raise ConfigError(f"channels must give widths that are multiples of 8, got {self.channels} for {widths}")
        check_betas(self, "final_beta2")
        check_unused(self, "for r3gan, whose R1 and R2 follow a schedule: set gamma and final_gamma", "penalty")


class R3GAN(AdversarialRecipe):
    """See the module."""

    name = "r3gan"
    Config = R3GANConfig
    # paper: CIFAR-10, conditional, of the authors' published settings: batches of 512; 20 million images of burn-in for
    # Adam's rates 2e-4 to 5e-5, beta2 0.9 to 0.99 and gamma 0.05 to 0.005; a moving average of 5 million images.
    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "paper": {},
        "small": {
            "steps": 2000, "batch_size": 32, "conditional": False, "channels": 128, "full_width_size": 4, "blocks": 1,
            "burn_in": 2000, "g_lr": 1.5e-3, "d_lr": 1.5e-3, "final_lr": 2e-4, "beta2": 0.99, "gamma": 2.0,
            "final_gamma": 0.5, "ema_decay": 0.99, "sample_every": 400, "metric_every": 800, "log_every": 25,
        },
    }  # fmt: skip
    default_preset = "small"

    def build(self, layers: Layers) -> tuple[nn.Module, nn.Module]:
        """See ``AdversarialRecipe.build``."""
        c = self.config
        widths = r3gan_widths(c.channels, c.image_size, c.full_width_size)
        shared = (widths, c.blocks, self.image_channels, self.num_classes, layers)
        return R3GANGenerator(c.latent_dim, *shared), R3GANDiscriminator(*shared)

    def penalties(self) -> Sequence[Penalty]:
        """See ``AdversarialRecipe.penalties``: on real and on generated images."""
        return R1(self.config.gamma), R2(self.config.gamma)

    def ema_decay(self, step: int) -> float:
        """See ``Recipe.ema_decay``: the average's half-life grows from 0 during the burn-in, by the same cosine."""
        c, grown = self.config, 1 - self._rest(step)
        return 0.0 if step < c.ema_start or not grown else c.ema_decay ** (1 / grown)

    def _rest(self, step: int) -> float:
        """What is left at ``step`` of the way from the first values to the final ones: half a period of a cosine."""
        return (1 + math.cos(math.pi * min(step / self.config.burn_in, 1))) / 2

    def prepare(self, step: int, g_optimizer: Optimizer, d_optimizer: Optimizer, discriminator: nn.Module) -> None:
        """See ``Recipe.prepare``: learning rates, beta2 and gamma go from the first values to the final ones."""
        c, rest = self.config, self._rest(step)

        def between(first: float, final: float) -> float:
            return final + (first - final) * rest

        for optimizer, lr in ((g_optimizer, c.g_lr), (d_optimizer, c.d_lr)):
            for group in optimizer.param_groups:
                group.update(lr=between(lr, c.final_lr), betas=(c.beta1, between(c.beta2, c.final_beta2)))
        for penalty in cast(PenalizedDiscriminator, discriminator).penalties:
            cast(R1, penalty).gamma = between(c.gamma, c.final_gamma)
