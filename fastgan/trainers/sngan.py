"""SNGAN at 32×32: spectral normalisation, hinge loss, residual networks, optionally conditional by projection.

T. Miyato et al., "Spectral Normalization for Generative Adversarial Networks", ICLR 2018; T. Miyato, M. Koyama, "cGANs
with Projection Discriminator", ICLR 2018.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.optim import Adam, Optimizer

from fastgan.losses import hinge_discriminator, hinge_generator
from fastgan.models.layers import Layers
from fastgan.models.sngan import SNGANDiscriminator, SNGANGenerator

from .config import ConfigError, TrainConfig, setting
from .recipe import Recipe

__all__ = ["SNGAN", "SNGANConfig"]


@dataclass
class SNGANConfig(TrainConfig):
    """Settings of an SNGAN run; the defaults are the preset ``paper``."""

    steps: int = setting(50_000, "generator updates in the whole run", free=True)
    n_dis: int = setting(5, "discriminator updates before each generator update")
    metric_every: int = setting(1000, "steps between Fréchet distances, 0 for never", free=True)
    latent_dim: int = setting(128, "length of the noise vector")
    g_channels: int = setting(256, "width of the generator")
    d_channels: int = setting(128, "width of the discriminator")
    conditional: bool = setting(False, "condition both networks on the data's labels")
    g_lr: float = setting(2e-4, "Adam's learning rate of the generator")
    d_lr: float = setting(2e-4, "Adam's learning rate of the discriminator")
    beta1: float = setting(0.0, "Adam's first decay")
    beta2: float = setting(0.9, "Adam's second decay")

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("latent_dim", "g_channels", "d_channels"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} must be at least 1, got {getattr(self, name)}")
        for name in ("g_lr", "d_lr"):
            if not getattr(self, name) > 0:
                raise ConfigError(f"{name} must be positive, got {getattr(self, name)}")
        for name in ("beta1", "beta2"):
            if not 0 <= getattr(self, name) < 1:
                raise ConfigError(f"{name} must be in [0, 1), got {getattr(self, name)}")


class SNGAN(Recipe):
    """See the module."""

    name = "sngan"
    Config = SNGANConfig
    # paper: the ResNet of Miyato et al., table 4, with the optimiser settings of their ResNet experiments (constant
    # learning rate here). small: hours on a CPU, minutes on a GPU. demo: minutes on two CPU cores.
    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "paper": {},
        "small": {
            "steps": 10_000, "n_dis": 2, "g_channels": 64, "d_channels": 64, "latent_dim": 64, "conditional": True,
            "g_lr": 4e-4, "d_lr": 4e-4,
        },
        "demo": {
            "steps": 1000, "batch_size": 32, "n_dis": 1, "g_channels": 64, "d_channels": 32, "latent_dim": 64,
            "conditional": True, "g_lr": 4e-4, "d_lr": 8e-4, "ema_decay": 0.99, "sample_every": 250,
            "metric_every": 0, "log_every": 25,
        },
    }  # fmt: skip
    default_preset = "small"

    def __init__(self, config: SNGANConfig, image_channels: int, num_classes: int | None) -> None:
        if config.conditional and num_classes is None:
            raise ConfigError(f"conditional=true needs labels, which {config.data} has not; set conditional=false")
        self.config = config
        self.image_channels = image_channels
        self.num_classes = num_classes if config.conditional else None

    def networks(self, layers: Layers) -> tuple[nn.Module, nn.Module]:
        """See ``Recipe.networks``."""
        c = self.config
        generator = SNGANGenerator(c.latent_dim, c.g_channels, self.image_channels, self.num_classes, layers)
        return generator, SNGANDiscriminator(c.d_channels, self.image_channels, self.num_classes, layers)

    def optimizers(self, generator: nn.Module, discriminator: nn.Module) -> tuple[Optimizer, Optimizer]:
        """See ``Recipe.optimizers``."""
        betas = (self.config.beta1, self.config.beta2)
        return (
            Adam(generator.parameters(), self.config.g_lr, betas),
            Adam(discriminator.parameters(), self.config.d_lr, betas),
        )

    def discriminator_loss(
        self, discriminator: nn.Module, generator: nn.Module, images: Tensor, labels: Tensor | None
    ) -> Tensor:
        """See ``Recipe.discriminator_loss``."""
        n = len(images)
        latent, fake_labels = self._noise(n, images.device)
        with torch.no_grad():
            fakes = generator(latent, fake_labels)
        both = None
        if labels is not None and fake_labels is not None:
            both = torch.cat([labels, fake_labels])
        logits = discriminator(torch.cat([images, fakes]), both)
        return hinge_discriminator(logits[:n], logits[n:])

    def generator_loss(
        self, generator: nn.Module, discriminator: nn.Module, batch_size: int, device: torch.device
    ) -> Tensor:
        """See ``Recipe.generator_loss``."""
        latent, labels = self._noise(batch_size, device)
        return hinge_generator(discriminator(generator(latent, labels), labels))

    def sample(self, generator: nn.Module, n: int, labels: Tensor | None, random: torch.Generator) -> Tensor:
        """See ``Recipe.sample``."""
        parameter = next(generator.parameters())
        latent = torch.randn(n, self.config.latent_dim, generator=random).to(parameter)
        return generator(latent, None if labels is None else labels.to(parameter.device))

    def _noise(self, n: int, device: torch.device) -> tuple[Tensor, Tensor | None]:
        latent = torch.randn(n, self.config.latent_dim, device=device)
        return latent, None if self.num_classes is None else torch.randint(self.num_classes, (n,), device=device)
