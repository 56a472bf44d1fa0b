"""WGAN-GP: a critic whose gradient's norm is drawn to 1; and WGAN-LP, where only norms above 1 are penalised.

I. Gulrajani, F. Ahmed, M. Arjovsky, V. Dumoulin, A. Courville, "Improved Training of Wasserstein GANs", NeurIPS 2017.
H. Petzka, A. Fischer, D. Lukovnikov, "On the regularization of Wasserstein GANs", ICLR 2018.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from torch import nn
from torch.optim import Optimizer

from fastgan import penalties
from fastgan.models.layers import Layers
from fastgan.models.sngan import SNGANGenerator
from fastgan.models.wgan_gp import WGANGPCritic

from .adversarial import AdversarialConfig, AdversarialRecipe, check_image_size, check_positive, check_unused
from .config import ConfigError, setting
from .rates import check_decay_from, decay_setting, set_rates

__all__ = ["WGANGP", "WGANLP", "WGANGPConfig"]


@dataclass
class WGANGPConfig(AdversarialConfig):
    """Settings of a run; the defaults are the preset ``paper``."""

    steps: int = setting(100_000, "generator updates in the whole run", free=True)
    n_dis: int = setting(5, "critic updates before each generator update")
    metric_every: int = setting(1000, "steps between Fréchet distances, 0 for never", free=True)
    loss: str = setting("wasserstein", "the pair of losses, of fastgan.losses")
    g_channels: int = setting(128, "width of the generator")
    d_channels: int = setting(128, "width of the critic")
    penalty_weight: float = setting(10.0, "λ, weight of the gradient penalty")
    decay_from: float = decay_setting(0.0)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.penalty:
            check_unused(self, f"with penalty={self.penalty}, which has its own weights", "penalty_weight")
        check_positive(self, "g_channels", "d_channels", "penalty_weight")
        check_image_size(self, 32)
        check_decay_from(self)
        if self.conditional:
            raise ConfigError("conditional=true is not for wgan-gp, whose critic takes no labels")


class WGANGP(AdversarialRecipe):
    """See the module."""

    name = "wgan-gp"
    Config = WGANGPConfig
    # paper: appendix F, the CIFAR-10 ResNet: Adam of rate 2e-4 falling to 0 in 100,000 generator steps, betas 0 and
    # 0.9, 5 critic steps, batches of 64, λ = 10.
    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "paper": {},
        "small": {
            "steps": 700, "batch_size": 32, "n_dis": 3, "g_channels": 64, "d_channels": 32, "latent_dim": 64,
            "g_lr": 4e-4, "d_lr": 4e-4, "ema_decay": 0.99, "sample_every": 200, "metric_every": 500, "log_every": 25,
        },
    }  # fmt: skip
    default_preset = "small"

    def build(self, layers: Layers) -> tuple[nn.Module, nn.Module]:
        """See ``AdversarialRecipe.build``."""
        c = self.config
        return (
            SNGANGenerator(c.latent_dim, c.g_channels, self.image_channels, None, layers),
            WGANGPCritic(c.d_channels, self.image_channels, layers),
        )

    def penalties(self) -> Sequence[penalties.Penalty]:
        """See ``AdversarialRecipe.penalties``: equation 3 of the paper."""
        return (penalties.WGANGP(self.config.penalty_weight),)

    def prepare(self, step: int, g_optimizer: Optimizer, d_optimizer: Optimizer, discriminator: nn.Module) -> None:
        """See ``Recipe.prepare``: the learning rates fall."""
        set_rates(self.config, step, g_optimizer, d_optimizer)


class WGANLP(WGANGP):
    """:class:`WGANGP` with the one-sided penalty."""

    name = "wgan-lp"

    def penalties(self) -> Sequence[penalties.Penalty]:
        """See ``AdversarialRecipe.penalties``: equation 8 of Petzka et al."""
        return (penalties.WGANLP(self.config.penalty_weight),)
