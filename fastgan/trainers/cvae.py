"""The conditional variational autoencoder: labels in encoder, decoder and prior.

K. Sohn, H. Lee, X. Yan, "Learning Structured Output Representation using Deep Conditional Generative Models", NeurIPS
2015.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from .config import ConfigError, setting
from .vae import VAE, VAEConfig

__all__ = ["CVAE", "CVAEConfig"]


@dataclass
class CVAEConfig(VAEConfig):
    """Settings of a run; the defaults are the preset ``paper``."""

    learned_prior: bool = setting(True, "learn a prior of the codes for each label; else standard normal for all")


class CVAE(VAE):
    """See the module."""

    name = "cvae"
    Config = CVAEConfig
    # paper: the networks q(z | x, y), p(z | y) and p(x | y, z) of equation 4, in vae's sizes.
    presets: ClassVar[dict[str, dict[str, Any]]] = {"paper": {}, "small": VAE.presets["small"] | {"latent_dim": 16}}

    def __init__(self, config: Any, image_channels: int, num_classes: int | None) -> None:
        if num_classes is None:
            raise ConfigError(f"cvae needs labels, which {config.data} has not; vae does without")
        super().__init__(config, image_channels, num_classes)
        self.num_classes = num_classes

    def _learned_prior(self) -> bool:
        return self.config.learned_prior
