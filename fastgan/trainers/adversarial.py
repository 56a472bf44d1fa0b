"""What recipes of plain GANs share: losses by name, penalties, Adam, normal noise, labels where they are wanted."""

from __future__ import annotations

import dataclasses
import math
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Adam, Optimizer

from fastgan.losses import LOSSES, get
from fastgan.models.layers import Layers
from fastgan.penalties import PENALTIES, Penalty
from fastgan.penalties import get as get_penalty

from .config import ConfigError, TrainConfig, setting
from .recipe import Recipe

__all__ = [
    "AdversarialConfig",
    "AdversarialRecipe",
    "check_batch_norm",
    "check_betas",
    "check_groups",
    "check_image_size",
    "check_not_negative",
    "check_positive",
    "check_unused",
    "named_penalties",
]


def check_image_size(config: TrainConfig, *sizes: int) -> None:
    """ConfigError unless the images' size is one that the networks are made for."""
    if config.image_size not in sizes:
        raise ConfigError(f"image_size must be {' or '.join(map(str, sizes))} here, got {config.image_size}")


def check_positive(config: TrainConfig, *names: str) -> None:
    """ConfigError unless the settings called ``names`` are positive; for integers, at least 1."""
    for name in names:
        value = getattr(config, name)
        if not value > 0:
            least = "at least 1" if isinstance(value, int) else "positive"
            raise ConfigError(f"{name} must be {least}, got {value}")


def check_not_negative(config: TrainConfig, *names: str) -> None:
    """ConfigError unless the settings called ``names`` are at least 0."""
    for name in names:
        if not getattr(config, name) >= 0:
            raise ConfigError(f"{name} must be at least 0, got {getattr(config, name)}")


def check_betas(config: TrainConfig, *names: str) -> None:
    """ConfigError unless the settings called ``names`` can be decays: in [0, 1)."""
    for name in names:
        if not 0 <= getattr(config, name) < 1:
            raise ConfigError(f"{name} must be in [0, 1), got {getattr(config, name)}")


def check_batch_norm(config: TrainConfig) -> None:
    """ConfigError unless batch norm sees two images or more at a time, which it needs where they have one pixel."""
    # fastgan's takes its statistics over all processes.
    together = config.batch_size // config.accumulate * (1 if config.stock else config.processes)
    if together < 2:
        raise ConfigError(f"batch_size / accumulate must be at least 2 for batch norm, got {together}")


def check_groups(config: TrainConfig, group_size: int) -> None:
    """ConfigError unless a part of a batch is one that ``MinibatchStdDev(group_size)`` takes, and of two or more."""
    part = config.batch_size // config.accumulate
    if part < 2 or part % min(part, group_size):
        raise ConfigError(
            f"batch_size / accumulate must be at least 2 and a multiple of {group_size} or less than that, for the "
            f"discriminator's deviations within a group, got {part}"
        )


def check_unused(config: TrainConfig, because: str, *names: str) -> None:
    """ConfigError unless the settings called ``names``, which nothing would use, have their defaults."""
    defaults = {field.name: field.default for field in dataclasses.fields(config)}
    for name in names:
        if getattr(config, name) != defaults[name]:
            raise ConfigError(f"{name} must be {defaults[name]!r} {because}")


def named_penalties(text: str) -> list[Penalty]:
    """Make the penalties of ``name:weight,name:weight``, none for ""; ConfigError lists what exists."""
    found = []
    for part in text.split(",") if text else ():
        name, _, weight = part.strip().partition(":")
        if name not in PENALTIES:
            raise ConfigError(f"unknown penalty {name!r}; there are: {', '.join(PENALTIES)}")
        try:
            number = float(weight)
        except ValueError:
            number = math.nan
        if not 0 < number < math.inf:
            raise ConfigError(f"penalty must be {name}:WEIGHT with a positive number, got {part.strip()!r}")
        found.append(get_penalty(name, number))
    return found


@dataclass
class AdversarialConfig(TrainConfig):
    """Settings that GANs have in common."""

    loss: str = setting("non_saturating", "the pair of losses, of fastgan.losses")
    penalty: str = setting(
        "",
        "penalties, of fastgan.penalties, in place of the recipe's own: name:weight, commas between several",
    )
    conditional: bool = setting(False, "condition both networks on the data's labels")
    latent_dim: int = setting(128, "length of the noise vector")
    g_lr: float = setting(2e-4, "learning rate of the generator")
    d_lr: float = setting(2e-4, "learning rate of the discriminator")
    beta1: float = setting(0.0, "Adam's first decay")
    beta2: float = setting(0.9, "Adam's second decay")

    def __post_init__(self) -> None:
        super().__post_init__()
        check_positive(self, "latent_dim", "g_lr", "d_lr")
        check_betas(self, "beta1", "beta2")
        if self.loss not in LOSSES:
            raise ConfigError(f"unknown loss {self.loss!r}; there are: {', '.join(LOSSES)}")
        named_penalties(self.penalty)


class AdversarialRecipe(Recipe):
    """A generator of ``(latent, *labels)`` and a discriminator of ``(images, *labels)`` with one logit an image.

    The discriminator judges real and fake images in batches of their own, so that batch norm keeps them apart.
    """

    def __init__(self, config: Any, image_channels: int, num_classes: int | None) -> None:
        if config.conditional and num_classes is None:
            raise ConfigError(f"conditional=true needs labels, which {config.data} has not; set conditional=false")
        self.config = config
        self.image_channels = image_channels
        self.num_classes = num_classes if config.conditional else None
        self.loss = get(config.loss)
        self._paired = self.loss.paired

    @abstractmethod
    def build(self, layers: Layers) -> tuple[nn.Module, nn.Module]:
        """Build the generator and the discriminator."""

    def penalties(self) -> Sequence[Penalty]:
        """Penalties on the discriminator's input gradient where the settings name none: none."""
        return ()

    def networks(self, layers: Layers) -> tuple[nn.Module, nn.Module]:
        """See ``Recipe.networks``."""
        generator, discriminator = self.build(layers)
        return generator, layers.penalize(discriminator, named_penalties(self.config.penalty) or self.penalties())

    def optimizers(self, generator: nn.Module, discriminator: nn.Module) -> tuple[Optimizer, Optimizer]:
        """See ``Recipe.optimizers``."""
        betas = (self.config.beta1, self.config.beta2)
        return (
            Adam(generator.parameters(), self.config.g_lr, betas, fused=True),
            Adam(discriminator.parameters(), self.config.d_lr, betas, fused=True),
        )

    def discriminator_loss(
        self, discriminator: nn.Module, generator: nn.Module, images: Tensor, labels: Tensor | None
    ) -> Tensor:
        """See ``Recipe.discriminator_loss``."""
        real, fake, penalty = self._judge(discriminator, generator, images, labels)
        return self.loss.discriminator(real, fake) + penalty

    def generator_loss(
        self, generator: nn.Module, discriminator: nn.Module, images: Tensor, labels: Tensor | None
    ) -> Tensor:
        """See ``Recipe.generator_loss``."""
        latent, fake_labels = self._noise(len(images), images.device)
        return self._loss_of_fakes(generator(latent, *fake_labels), fake_labels, discriminator, images, labels)

    def _judge(
        self, discriminator: nn.Module, generator: nn.Module, images: Tensor, labels: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Logits of real and of fresh generated images, and the penalties."""
        latent, fake_labels = self._noise(len(images), images.device)
        with torch.no_grad():
            fakes = generator(latent, *fake_labels)
        real_labels = () if labels is None or self.num_classes is None else (labels,)
        return discriminator(images, *real_labels, fake=fakes, fake_conditions=fake_labels)

    def _loss_of_fakes(
        self,
        fakes: Tensor,
        fake_labels: Sequence[Tensor],
        discriminator: nn.Module,
        images: Tensor,
        labels: Tensor | None,
    ) -> Tensor:
        """The generator's loss on images that it has made."""
        judge = getattr(discriminator, "discriminator", discriminator)  # without penalties
        fake = judge(fakes, *fake_labels)
        if not self._paired:
            return self.loss.generator(fake)
        real_labels = () if labels is None or self.num_classes is None else (labels,)
        return self.loss.generator(judge(images, *real_labels), fake)

    def sample(self, generator: nn.Module, n: int, labels: Tensor | None, random: torch.Generator) -> Tensor:
        """See ``Recipe.sample``; what overshoots is cut."""
        parameter = next(generator.parameters())
        latent = self.latent(n, generator=random).to(parameter)
        return generator(latent, *(() if labels is None else (labels.to(parameter.device),))).clamp(-1, 1)

    def latent(self, n: int, **options: Any) -> Tensor:
        """Draw ``n`` noise vectors, standard normal; ``options`` are those of ``torch.randn``."""
        return torch.randn(n, self.config.latent_dim, **options)

    def _noise(self, n: int, device: torch.device) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Noise and, for a conditional generator, labels, as its arguments."""
        latent = self.latent(n, device=device)
        if self.num_classes is None:
            return latent, ()
        return latent, (torch.randint(self.num_classes, (n,), device=device),)
