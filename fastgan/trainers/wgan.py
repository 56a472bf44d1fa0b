"""WGAN: a critic of weights clipped to a box, trained to near its optimum before each step of the generator.

M. Arjovsky, S. Chintala, L. Bottou, "Wasserstein Generative Adversarial Networks", ICML 2017.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.optim import Optimizer, RMSprop

from .adversarial import check_positive, check_unused
from .config import setting
from .dcgan import DCGAN, DCGANConfig

__all__ = ["WGAN", "WGANConfig"]


@dataclass
class WGANConfig(DCGANConfig):
    """Settings of a run; the defaults are the preset ``paper``."""

    steps: int = setting(100_000, "generator updates in the whole run", free=True)
    batch_size: int = setting(64, "images a process uses in one update")
    n_dis: int = setting(5, "critic updates before each generator update")
    loss: str = setting("wasserstein", "the pair of losses, of fastgan.losses")
    g_lr: float = setting(5e-5, "learning rate of the generator")
    d_lr: float = setting(5e-5, "learning rate of the critic")
    clip: float = setting(0.01, "c, the largest absolute value of a weight of the critic")

    def __post_init__(self) -> None:
        super().__post_init__()
        check_positive(self, "clip")
        check_unused(self, "for wgan, whose RMSprop has no such setting: set g_lr and d_lr", "beta1", "beta2")


class WGAN(DCGAN):
    """See the module; the networks are DCGAN's."""

    name = "wgan"
    Config = WGANConfig
    # paper: algorithm 1 and its default values; the networks of section 4 are DCGAN's.
    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "paper": {},
        "small": {
            "image_size": 32, "steps": 2000, "batch_size": 32, "n_dis": 3, "g_channels": 32, "d_channels": 32,
            "latent_dim": 64, "g_lr": 2e-4, "d_lr": 2e-4, "ema_decay": 0.99, "sample_every": 250, "metric_every": 1000,
        },
    }  # fmt: skip

    def optimizers(self, generator: nn.Module, discriminator: nn.Module) -> tuple[Optimizer, Optimizer]:
        """See ``Recipe.optimizers``: RMSprop, and after each of the critic's steps the clipping."""
        c = self.config
        parameters: list[Tensor] = list(discriminator.parameters())
        d_optimizer = RMSprop(parameters, c.d_lr)

        @torch.no_grad()
        def clip(*_: Any) -> None:
            torch._foreach_clamp_min_(parameters, -c.clip)
            torch._foreach_clamp_max_(parameters, c.clip)

        d_optimizer.register_step_post_hook(clip)
        return RMSprop(generator.parameters(), c.g_lr), d_optimizer
