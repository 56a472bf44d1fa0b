"""StyleGAN2: styles modulate convolutions; path-length regularisation, lazy R1, and adaptive augmentation.

T. Karras, S. Laine, M. Aittala, J. Hellsten, J. Lehtinen, T. Aila, "Analyzing and Improving the Image Quality of
StyleGAN", CVPR 2020. T. Karras, M. Aittala, J. Hellsten, S. Laine, J. Lehtinen, T. Aila, "Training Generative
Adversarial Networks with Limited Data", NeurIPS 2020.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, cast

import torch
from torch import Tensor, nn
from torch.optim import Adam, Optimizer

from fastgan.augment import ADA, DiffAugment, RandomHorizontalFlip
from fastgan.models.layers import Layers
from fastgan.models.progan import progan_widths
from fastgan.models.stylegan2 import StyleGAN2Discriminator, StyleGAN2Generator
from fastgan.nn import PenalizedDiscriminator
from fastgan.penalties import R1, Penalty

from .adversarial import AdversarialRecipe
from .stylegan2_config import StyleGAN2Config

__all__ = ["StyleGAN2", "StyleGAN2Config"]


class StyleGAN2(AdversarialRecipe):
    """See the module."""

    name = "stylegan2"
    Config = StyleGAN2Config
    # paper: configuration F of table 1 on FFHQ, with appendix B. cifar10: what the code published with the paper on
    # limited data has for CIFAR-10, cfg=cifar.
    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "paper": {},
        "cifar10": {
            "image_size": 32, "batch_size": 64, "steps": 1_562_500, "g_lr": 2.5e-3, "d_lr": 2.5e-3, "mapping_layers": 2,
            "style_mixing": 0.0, "path_weight": 0.0, "gamma": 0.01, "stddev_group": 32, "d_residual": False,
            "ema_images": 500_000.0, "ema_rampup": 0.05, "augment": "ada", "flip": False,
        },
        "small": {
            "image_size": 32, "steps": 4000, "batch_size": 32, "latent_dim": 64, "w_dim": 64, "mapping_layers": 2,
            "g_lr": 4e-3, "d_lr": 4e-3, "channel_base": 512, "channel_max": 64, "path_weight": 0.2, "gamma": 1.0,
            "flip": False, "ema_images": 6000.0, "ema_rampup": 0.1, "metric_every": 1000, "log_every": 25,
        },
    }  # fmt: skip
    default_preset = "small"
    _path_is_due = True

    def build(self, layers: Layers) -> tuple[nn.Module, nn.Module]:
        """See ``AdversarialRecipe.build``."""
        c = self.config
        widths = progan_widths(c.channel_max, c.channel_base, c.image_size)
        shared = (self.image_channels, self.num_classes)
        generator = StyleGAN2Generator(c.latent_dim, c.w_dim, widths, c.mapping_layers, *shared, c.style_mixing, layers)
        augments = {"ada": ADA(c.ada_target, images=c.ada_images), "diffaugment": DiffAugment()}
        return generator, StyleGAN2Discriminator(
            widths, *shared, c.stddev_group, c.d_residual, augments.get(c.augment), layers
        )

    def penalties(self) -> Sequence[Penalty]:
        """See ``AdversarialRecipe.penalties``; ``prepare`` leaves it out of most steps, so it counts so much more."""
        return (R1(self.config.gamma * self.config.r1_every),)

    def networks(self, layers: Layers) -> tuple[nn.Module, nn.Module]:
        """See ``Recipe.networks``."""
        generator, discriminator = super().networks(layers)
        self._penalties = cast(PenalizedDiscriminator, discriminator).penalties
        return generator, discriminator

    def optimizers(self, generator: nn.Module, discriminator: nn.Module) -> tuple[Optimizer, Optimizer]:
        """See ``Recipe.optimizers``: appendix B, "lazy regularization", corrects Adam for the regularised steps."""
        c = self.config

        def adam(module: nn.Module, lr: float, every: int) -> Adam:
            ratio = every / (every + 1)
            return Adam(module.parameters(), lr * ratio, (c.beta1**ratio, c.beta2**ratio), fused=True)

        return adam(generator, c.g_lr, c.path_every), adam(discriminator, c.d_lr, c.r1_every)

    def ema_decay(self, step: int) -> float:
        """See ``Recipe.ema_decay``; by images."""
        c = self.config
        images = c.batch_size * c.processes
        half_life = min(c.ema_images, c.ema_rampup * step * images) if c.ema_rampup else c.ema_images
        return 0.5 ** (images / half_life) if half_life else 0.0

    def prepare(self, step: int, g_optimizer: Optimizer, d_optimizer: Optimizer, discriminator: nn.Module) -> None:
        """See ``Recipe.prepare``: whether the step is one that is regularised."""
        self._path_is_due = step % self.config.path_every == 0
        penalized = cast(PenalizedDiscriminator, discriminator)
        penalized.penalties = () if step % self.config.r1_every else self._penalties

    def discriminator_loss(
        self, discriminator: nn.Module, generator: nn.Module, images: Tensor, labels: Tensor | None
    ) -> Tensor:
        """See ``Recipe.discriminator_loss``."""
        if self.config.flip:
            images = RandomHorizontalFlip()(images)
        real, fake, penalty = self._judge(discriminator, generator, images, labels)
        augment = cast(PenalizedDiscriminator, getattr(discriminator, "module", discriminator)).discriminator.augment
        if isinstance(augment, ADA):
            augment.update(real)
        return self.loss.discriminator(real, fake) + penalty

    def generator_loss(
        self, generator: nn.Module, discriminator: nn.Module, images: Tensor, labels: Tensor | None
    ) -> Tensor:
        """See ``Recipe.generator_loss``; in the same call, path lengths for half as many other noise vectors."""
        c = self.config
        if not (self._path_is_due and c.path_weight):
            return super().generator_loss(generator, discriminator, images, labels)
        latent, fake_labels = self._noise(len(images), images.device)
        path_latent, path_labels = self._noise(len(images), images.device)
        fakes, penalty = generator(latent, *fake_labels, path=(path_latent, *path_labels))
        loss = self._loss_of_fakes(fakes, fake_labels, discriminator, images, labels)
        return loss + c.path_weight * c.path_every * penalty

    def sample(self, generator: nn.Module, n: int, labels: Tensor | None, random: torch.Generator) -> Tensor:
        """See ``Recipe.sample``; with the truncation of the settings."""
        parameter = next(generator.parameters())
        latent = self.latent(n, generator=random).to(parameter)
        conditions = () if labels is None else (labels.to(parameter.device),)
        return generator(latent, *conditions, truncation=self.config.truncation).clamp(-1, 1)
