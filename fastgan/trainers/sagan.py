"""SAGAN: self-attention in both networks, spectral norm in both, and a faster discriminator instead of more updates.

H. Zhang, I. Goodfellow, D. Metaxas, A. Odena, "Self-Attention Generative Adversarial Networks", ICML 2019.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from torch import nn

from fastgan.models.layers import Layers
from fastgan.models.sagan import SAGANDiscriminator, SAGANGenerator

from .config import ConfigError, setting
from .sngan import SNGAN, SNGANConfig

__all__ = ["SAGAN", "SAGANConfig"]


@dataclass
class SAGANConfig(SNGANConfig):
    """Settings of a SAGAN run; the defaults are the preset ``paper``."""

    image_sizes: ClassVar[tuple[int, ...]] = (32, 64, 128, 256)

    image_size: int = setting(128, "height and width the images are brought to: 32, 64, 128 or 256")
    steps: int = setting(1_000_000, "generator updates in the whole run", free=True)
    batch_size: int = setting(256, "images a process uses in one update")
    n_dis: int = setting(1, "discriminator updates before each generator update")
    ema_decay: float = setting(0.0, "decay of the generator's moving average a step, in [0, 1)")
    conditional: bool = setting(True, "condition both networks on the data's labels")
    g_lr: float = setting(1e-4, "learning rate of the generator")
    d_lr: float = setting(4e-4, "learning rate of the discriminator")
    g_channels: int = setting(64, "unit of the generator's widths: a multiple of 8, or of 2 for 32 x 32 images")
    d_channels: int = setting(64, "unit of the discriminator's widths: a multiple of 8, or of 2 for 32 x 32 images")
    attention: int = setting(32, "height of the feature maps with self-attention, 8 to half the image; 0 for none")

    def __post_init__(self) -> None:
        super().__post_init__()
        unit = 2 if self.image_size == 32 else 8
        for name in ("g_channels", "d_channels"):
            if getattr(self, name) % unit:
                raise ConfigError(f"{name} must be a multiple of {unit} here, got {getattr(self, name)}")
        sizes = [0, *(size for size in (8, 16, 32, 64, 128) if 2 * size <= self.image_size)]
        if self.attention not in sizes:
            raise ConfigError(f"attention must be {' or '.join(map(str, sizes))} here, got {self.attention}")


class SAGAN(SNGAN):
    """See the module; loss and updates are SNGAN's."""

    name = "sagan"
    Config = SAGANConfig
    # paper: section 4, ImageNet at 128×128: Adam of β 0 and 0.9, one update each; attention at 32×32, table 1's best.
    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "paper": {},
        "small": {
            "image_size": 32, "steps": 1500, "batch_size": 32, "g_channels": 16, "d_channels": 8, "latent_dim": 64,
            "attention": 16, "g_lr": 4e-4, "d_lr": 8e-4, "ema_decay": 0.99, "sample_every": 250,
            "metric_every": 500, "log_every": 25,
        },
    }  # fmt: skip
    default_preset = "small"
    shardable = False

    def build(self, layers: Layers) -> tuple[nn.Module, nn.Module]:
        """See ``AdversarialRecipe.build``."""
        c = self.config
        images, attention = (c.image_size, self.image_channels, self.num_classes), c.attention or None
        generator = SAGANGenerator(c.latent_dim, c.g_channels, *images, attention, layers)
        return generator, SAGANDiscriminator(c.d_channels, *images, attention, layers)
