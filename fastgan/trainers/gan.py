"""The first GAN: multilayer perceptrons, minimax or non-saturating, k updates of the discriminator a step.

I. Goodfellow et al., "Generative Adversarial Nets", NeurIPS 2014.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.optim import SGD, Optimizer

from fastgan.data import ImageData
from fastgan.models.gan import MLPDiscriminator, MLPGenerator
from fastgan.models.layers import Layers

from .adversarial import AdversarialConfig, AdversarialRecipe, check_betas, check_positive, check_unused
from .config import ConfigError, setting
from .recipe import Evaluator

__all__ = ["GAN", "GANConfig"]


@dataclass
class GANConfig(AdversarialConfig):
    """Settings of a run; the defaults are the preset ``paper``."""

    image_size: int = setting(28, "height and width the images are brought to")
    steps: int = setting(500_000, "generator updates in the whole run", free=True)
    batch_size: int = setting(100, "images a process uses in one update")
    held_out: int = setting(10_000, "images kept from training: half choose the Parzen window, half are measured")
    metric_every: int = setting(10_000, "steps between Parzen-window log-likelihoods, 0 for never", free=True)
    metric_samples: int = setting(10_000, "generated images of a Parzen window", free=True)
    ema_decay: float = setting(0.0, "decay of the generator's moving average a step, in [0, 1)")
    latent_dim: int = setting(100, "length of the noise vector")
    g_channels: int = setting(1200, "width of the generator's layers")
    d_channels: int = setting(240, "maxout units of the discriminator's layers")
    pieces: int = setting(5, "linear functions a maxout unit is the largest of")
    optimizer: str = setting("sgd", "sgd or adam")
    g_lr: float = setting(0.1, "learning rate of the generator")
    d_lr: float = setting(0.1, "learning rate of the discriminator")
    lr_decay: float = setting(1.000004, "what SGD's learning rates are divided by at each step, down to 1e-6")
    momentum: float = setting(0.5, "SGD's momentum at the start")
    final_momentum: float = setting(0.7, "SGD's momentum from step momentum_steps on; in between it rises evenly")
    momentum_steps: int = setting(125_000, "250 epochs of 50,000 images")

    def __post_init__(self) -> None:
        super().__post_init__()
        check_positive(self, "g_channels", "d_channels", "pieces", "momentum_steps")
        check_betas(self, "momentum", "final_momentum")
        if not self.lr_decay >= 1:
            raise ConfigError(f"lr_decay must be at least 1, got {self.lr_decay}")
        if self.optimizer not in ("sgd", "adam"):
            raise ConfigError(f"unknown optimizer {self.optimizer!r}; there are: sgd, adam")
        if self.optimizer == "sgd":
            check_unused(self, "with optimizer=sgd: set momentum and final_momentum", "beta1", "beta2")
        else:
            sgds = ("momentum", "final_momentum", "momentum_steps", "lr_decay")
            check_unused(self, "with optimizer=adam: set beta1, beta2, g_lr and d_lr", *sgds)
        if self.metric_every and self.held_out < 4:
            raise ConfigError(f"held_out must be at least 4 for a log-likelihood, got {self.held_out}")


class GAN(AdversarialRecipe):
    """See the module."""

    name = "gan"
    Config = GANConfig
    metric = "Parzen-window log-likelihood"
    # paper: section 5, with the authors' published settings for MNIST (mnist.yaml beside their code).
    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "paper": {},
        "small": {
            "steps": 6000, "g_channels": 1024, "latent_dim": 64, "optimizer": "adam", "g_lr": 4e-4, "d_lr": 4e-4,
            "beta1": 0.5, "beta2": 0.999, "ema_decay": 0.999, "held_out": 2000, "metric_every": 2000,
            "metric_samples": 5000, "sample_every": 1000, "checkpoint_every": 2000, "log_every": 200,
        },
    }  # fmt: skip
    default_preset = "small"

    def build(self, layers: Layers) -> tuple[nn.Module, nn.Module]:
        """See ``AdversarialRecipe.build``; nothing here has a faster form, both sets of layers build the same."""
        c = self.config
        if c.conditional:
            raise ConfigError("conditional=true is not for gan, whose networks take no labels")
        shape = (self.image_channels, c.image_size)
        return MLPGenerator(c.latent_dim, c.g_channels, *shape), MLPDiscriminator(c.d_channels, c.pieces, *shape)

    def optimizers(self, generator: nn.Module, discriminator: nn.Module) -> tuple[Optimizer, Optimizer]:
        """See ``Recipe.optimizers``."""
        c = self.config
        if c.optimizer == "adam":
            return super().optimizers(generator, discriminator)
        return (
            SGD(generator.parameters(), c.g_lr, c.momentum, dampening=0),
            SGD(discriminator.parameters(), c.d_lr, c.momentum, dampening=0),
        )

    def prepare(self, step: int, g_optimizer: Optimizer, d_optimizer: Optimizer, discriminator: nn.Module) -> None:
        """See ``Recipe.prepare``: SGD's learning rates fall and its momenta rise."""
        c = self.config
        if c.optimizer == "sgd":
            momentum = c.momentum + (c.final_momentum - c.momentum) * min(step / c.momentum_steps, 1)
            for optimizer, lr in ((g_optimizer, c.g_lr), (d_optimizer, c.d_lr)):
                for group in optimizer.param_groups:
                    group.update(lr=max(lr / c.lr_decay**step, 1e-6), momentum=momentum)

    def latent(self, n: int, **options: Any) -> Tensor:
        """Noise of the paper's kind: uniform, with variance 1."""
        return (2 * torch.rand(n, self.config.latent_dim, **options) - 1) * 3**0.5

    def evaluator(self, data: ImageData, held_out: ImageData | None, samples: int, device: torch.device) -> Evaluator:
        """See ``Recipe.evaluator``: the Parzen-window log-likelihood."""
        from .parzen import ParzenEvaluator

        if held_out is None:
            raise ConfigError("held_out must be at least 4 for a log-likelihood, got 0")
        return ParzenEvaluator(self, held_out, samples)
