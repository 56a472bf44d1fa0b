"""The settings of StyleGAN2."""

from __future__ import annotations

from dataclasses import dataclass

from .adversarial import (
    AdversarialConfig,
    check_groups,
    check_image_size,
    check_not_negative,
    check_positive,
    check_unused,
)
from .config import ConfigError, TrainConfig, setting

__all__ = ["StyleGAN2Config"]

_AUGMENTS = ("none", "ada", "diffaugment")


@dataclass
class StyleGAN2Config(AdversarialConfig):
    """Settings of a run; the defaults are the preset ``paper``."""

    image_size: int = setting(1024, "height and width the images are brought to")
    steps: int = setting(781_250, "generator updates in the whole run", free=True)
    batch_size: int = setting(32, "images a process uses in one update")
    metric_every: int = setting(5000, "steps between Fréchet distances, 0 for never", free=True)
    latent_dim: int = setting(512, "length of the noise vector")
    g_lr: float = setting(2e-3, "learning rate of the generator, before the correction for path_every")
    d_lr: float = setting(2e-3, "learning rate of the discriminator, before the correction for r1_every")
    beta2: float = setting(0.99, "Adam's second decay, before these corrections")
    w_dim: int = setting(512, "length of a style")
    mapping_layers: int = setting(8, "layers from the noise to a style")
    channel_base: int = setting(32768, "the width is this over the resolution")
    channel_max: int = setting(512, "greatest width")
    style_mixing: float = setting(0.9, "probability that a batch has two styles")
    truncation: float = setting(1.0, "how far samples' styles are from their average, 0 to 1", free=True)
    path_weight: float = setting(2.0, "weight of the path-length penalty, 0 for none")
    path_every: int = setting(4, "steps between path-length penalties")
    gamma: float = setting(10.0, "weight of R1")
    r1_every: int = setting(16, "steps between R1 penalties")
    stddev_group: int = setting(4, "images in a group of the minibatch standard deviation")
    d_residual: bool = setting(True, "residual blocks in the discriminator")
    ema_images: float = setting(10_000.0, "images in which the moving average forgets half of the past")
    ema_rampup: float = setting(0.0, "at most so large a part of the images seen so far, 0 for no limit")
    flip: bool = setting(True, "mirror half of the real images")
    augment: str = setting("none", ", ".join(_AUGMENTS))
    ada_target: float = setting(0.6, "mean sign of the real images' logits that ada keeps")
    ada_images: int = setting(500_000, "images in which ada's probability may grow from 0 to 1")

    def __post_init__(self) -> None:
        super().__post_init__()
        check_positive(self, "w_dim", "mapping_layers", "path_every", "gamma", "r1_every", "stddev_group", "ema_images")
        check_image_size(self, 8, 16, 32, 64, 128, 256, 512, 1024)
        if self.augment not in _AUGMENTS:
            raise ConfigError(f"unknown augment {self.augment!r}; there are: {', '.join(_AUGMENTS)}")
        for name, instead in (("ema_decay", "ema_images"), ("ema_start", "ema_rampup")):
            if getattr(self, name) != getattr(TrainConfig, name):
                raise ConfigError(f"{name} is not for stylegan2, whose moving average goes by images: set {instead}")
        for name in ("style_mixing", "truncation"):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(f"{name} must be in [0, 1], got {getattr(self, name)}")
        check_not_negative(self, "path_weight", "ema_rampup")
        if self.channel_max < 1 or self.channel_base < self.image_size:
            raise ConfigError(
                f"channel_max must be at least 1 and channel_base at least image_size={self.image_size}, "
                f"got {self.channel_max} and {self.channel_base}"
            )
        check_groups(self, self.stddev_group)
        check_unused(self, "for stylegan2, whose R1 is lazy: set gamma and r1_every", "penalty")
        if not -1 <= self.ada_target <= 1 or self.ada_images < 1:
            raise ConfigError(
                f"ada_target must be in [-1, 1] and ada_images at least 1, got {self.ada_target} and {self.ada_images}"
            )
