"""BigGAN: large batches, the label and a part of the noise in every block, orthogonal weights, truncated noise.

A. Brock, J. Donahue, K. Simonyan, "Large Scale GAN Training for High Fidelity Natural Image Synthesis", ICLR 2019.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from fastgan.models.biggan import BigGANDiscriminator, BigGANGenerator, generator_widths
from fastgan.models.biggan_deep import BigGANDeepDiscriminator, BigGANDeepGenerator
from fastgan.models.layers import Layers

from .adversarial import check_not_negative, check_positive
from .config import ConfigError, setting
from .orthogonal import orthogonal_regularization
from .sagan import SAGANConfig
from .sngan import SNGAN
from .standing import StandingStatistics

__all__ = ["BigGAN", "BigGANConfig"]


@dataclass
class BigGANConfig(SAGANConfig):
    """Settings of a BigGAN run; the defaults are the preset ``paper``."""

    steps: int = setting(165_000, "generator updates in the whole run", free=True)
    batch_size: int = setting(2048, "images a process uses in one update")
    accumulate: int = setting(8, "parts a batch is cut into, their gradients added (saves memory)")
    n_dis: int = setting(2, "discriminator updates before each generator update")
    ema_decay: float = setting(0.9999, "decay of the generator's moving average a step, in [0, 1)")
    ema_start: int = setting(20_000, "steps before the moving average begins; until then it is the generator itself")
    g_lr: float = setting(5e-5, "learning rate of the generator")
    d_lr: float = setting(2e-4, "learning rate of the discriminator")
    beta2: float = setting(0.999, "Adam's second decay")
    deep: bool = setting(False, "BigGAN-deep's networks")
    latent_dim: int = setting(120, "length of the noise vector; unless deep, a multiple of the generator's blocks + 1")
    embedding_dim: int = setting(128, "length of the labels' embedding, which all blocks of the generator share")
    g_channels: int = setting(96, "unit of the generator's widths: a multiple of 8, or of 2 for 32 x 32 images")
    d_channels: int = setting(96, "unit of the discriminator's widths: a multiple of 8, or of 2 for 32 x 32 images")
    attention: int = setting(64, "height of the feature maps with self-attention, 8 to half the image; 0 for none")
    orthogonal: float = setting(1e-4, "weight of the generator's orthogonal regularisation")
    truncation: float = setting(0.0, "samples draw noise beyond this magnitude again; 0 for never", free=True)
    standing_batches: int = setting(
        100, "batches that batch norm's statistics of samples are taken from; 0: training's averages", free=True
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        check_positive(self, "embedding_dim")
        check_not_negative(self, "orthogonal", "truncation", "standing_batches")
        slots = len(generator_widths(1, self.image_size, None))
        if not self.deep and self.latent_dim % slots:
            raise ConfigError(f"latent_dim must be a multiple of {slots} here, got {self.latent_dim}")


class BigGAN(SNGAN):
    """See the module; the loss and the discriminator's updates are SNGAN's."""

    name = "biggan"
    Config = BigGANConfig
    # paper: 128×128, section 3 and appendix C; deep: the same of BigGAN-deep.
    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "paper": {},
        "deep": {"deep": True, "latent_dim": 128, "g_channels": 128, "d_channels": 128},
        "small": {
            "image_size": 32, "steps": 1000, "batch_size": 32, "accumulate": 1, "n_dis": 1, "g_channels": 16,
            "d_channels": 8, "latent_dim": 64, "embedding_dim": 32, "attention": 16, "g_lr": 4e-4, "d_lr": 8e-4,
            "beta2": 0.99, "ema_decay": 0.99, "ema_start": 100, "standing_batches": 16, "sample_every": 250,
            "metric_every": 500, "log_every": 25,
        },
    }  # fmt: skip
    default_preset = "small"
    shardable = False

    def __init__(self, config: Any, image_channels: int, num_classes: int | None) -> None:
        super().__init__(config, image_channels, num_classes)
        self._standing = StandingStatistics()

    def build(self, layers: Layers) -> tuple[nn.Module, nn.Module]:
        """See ``AdversarialRecipe.build``."""
        c = self.config
        images, attention = (c.image_size, self.image_channels, self.num_classes), c.attention or None
        generator = BigGANDeepGenerator if c.deep else BigGANGenerator
        discriminator = BigGANDeepDiscriminator if c.deep else BigGANDiscriminator
        return (
            generator(c.latent_dim, c.g_channels, *images, c.embedding_dim, attention, layers),
            discriminator(c.d_channels, *images, attention, layers),
        )

    def generator_loss(
        self, generator: nn.Module, discriminator: nn.Module, images: Tensor, labels: Tensor | None
    ) -> Tensor:
        """See ``Recipe.generator_loss``; the shared embedding is not regularised."""
        loss = super().generator_loss(generator, discriminator, images, labels)
        if not self.config.orthogonal:
            return loss
        weights = [p for name, p in generator.named_parameters() if p.dim() > 1 and "embedding" not in name]
        return loss + self.config.orthogonal * orthogonal_regularization(weights)

    def sample(self, generator: nn.Module, n: int, labels: Tensor | None, random: torch.Generator) -> Tensor:
        """See ``Recipe.sample``: of truncated noise, with standing statistics."""
        arguments = self._arguments(generator, n, labels, random)
        if self.config.standing_batches:
            generator = self._standing(generator, self._standing_batches)
        return generator(*arguments)

    def _arguments(
        self, generator: nn.Module, n: int, labels: Tensor | None, random: torch.Generator
    ) -> tuple[Tensor, ...]:
        limit, parameter = self.config.truncation, next(generator.parameters())
        if limit:
            latent = nn.init.trunc_normal_(torch.empty(n, self.config.latent_dim), a=-limit, b=limit, generator=random)
        else:
            latent = self.latent(n, generator=random)
        return latent.to(parameter), *(() if labels is None else (labels.to(parameter.device),))

    def _standing_batches(self, generator: nn.Module) -> Iterator[tuple[Tensor, ...]]:
        """As large as in training, of labels and noise that are always the same."""
        random, n = torch.Generator().manual_seed(0), self.config.batch_size // self.config.accumulate
        for _ in range(self.config.standing_batches):
            labels = None if self.num_classes is None else torch.randint(self.num_classes, (n,), generator=random)
            yield self._arguments(generator, n, labels, random)
