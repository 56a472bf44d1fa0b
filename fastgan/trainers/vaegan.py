"""VAE/GAN: an autoencoder whose reconstructions are compared by the discriminator's features.

A. B. L. Larsen, S. K. Sønderby, H. Larochelle, O. Winther, "Autoencoding beyond pixels using a learned similarity
metric", ICML 2016.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, cast

import torch
from torch import Tensor, nn
from torch.distributions import kl_divergence
from torch.nn import functional as F
from torch.optim import Optimizer, RMSprop

from fastgan.models.layers import Layers
from fastgan.models.likelihood import diagonal_normal
from fastgan.models.vaegan import ConvDecoder, ConvEncoder, VAEGANAutoencoder, VAEGANDiscriminator

from .adversarial import AdversarialConfig, AdversarialRecipe, check_batch_norm, check_positive, check_unused
from .config import ConfigError, setting

__all__ = ["VAEGAN", "VAEGANConfig"]


@dataclass
class VAEGANConfig(AdversarialConfig):
    """Settings of a run; the defaults are the preset ``paper``."""

    image_size: int = setting(64, "height and width the images are brought to, a multiple of 8")
    steps: int = setting(400_000, "generator updates in the whole run", free=True)
    metric_every: int = setting(1000, "steps between Fréchet distances, 0 for never", free=True)
    loss: str = setting("minimax", "the pair of losses, of fastgan.losses")
    latent_dim: int = setting(128, "length of a code")
    channels: int = setting(64, "width of the encoder's first convolution, and a quarter of the decoder's first")
    hidden: int = setting(2048, "width of the encoder's hidden layer")
    d_channels: int = setting(32, "width of the discriminator's first convolution")
    d_hidden: int = setting(512, "width of the discriminator's hidden layer")
    g_lr: float = setting(3e-4, "learning rate of encoder and decoder")
    d_lr: float = setting(3e-4, "learning rate of the discriminator")
    beta1: float = setting(0.0, "RMSprop's momentum")
    beta2: float = setting(0.9, "RMSprop's decay of squared gradients")
    beta: float = setting(1.0, "weight of the codes' divergence from their prior, in the encoder")
    gamma: float = setting(1e-5, "weight of the reconstructions' loss against the discriminator's, in the decoder")

    def __post_init__(self) -> None:
        super().__post_init__()
        check_positive(self, "channels", "hidden", "d_channels", "d_hidden", "beta", "gamma")
        if self.image_size % 8:
            raise ConfigError(f"image_size must be a multiple of 8, got {self.image_size}")
        if self.conditional:
            raise ConfigError("conditional=true is not for vaegan, whose networks take no labels")
        check_batch_norm(self)
        check_unused(self, "for vaegan, which judges real images and two kinds of fakes in one batch", "penalty")
        if self.channels % 2:
            raise ConfigError(f"channels must be even, got {self.channels}")


class VAEGAN(AdversarialRecipe):
    """See the module."""

    name = "vaegan"
    Config = VAEGANConfig
    forward_only = False
    # paper: table 1, section 4 (RMSprop of rate 0.0003, batches of 64) and algorithm 1. γ, the length of a code and
    # RMSprop's decay are those of the authors' published settings for CelebA.
    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "paper": {},
        "small": {
            "image_size": 32, "steps": 2000, "batch_size": 32, "channels": 16, "hidden": 256, "latent_dim": 32,
            "d_channels": 8, "d_hidden": 128, "loss": "non_saturating", "beta": 0.1, "gamma": 0.1, "g_lr": 1e-3,
            "d_lr": 2e-4, "ema_decay": 0.99, "metric_every": 1000, "sample_every": 250, "log_every": 50,
        },
    }  # fmt: skip
    default_preset = "small"

    def __init__(self, config: Any, image_channels: int, num_classes: int | None) -> None:
        super().__init__(config, image_channels, num_classes)
        if self.loss.paired:
            raise ConfigError(f"loss={config.loss} pairs real and generated images, of which vaegan has twice as many")

    def build(self, layers: Layers) -> tuple[nn.Module, nn.Module]:
        """See ``AdversarialRecipe.build``."""
        c = self.config
        shape = (self.image_channels, c.image_size)
        encoder = ConvEncoder(c.latent_dim, c.channels, c.hidden, *shape, layers=layers)
        decoder = ConvDecoder(c.latent_dim, c.channels, *shape, layers=layers)
        discriminator = VAEGANDiscriminator(c.d_channels, c.d_hidden, *shape, layers)
        return VAEGANAutoencoder(encoder, decoder, c.latent_dim), discriminator

    def networks(self, layers: Layers) -> tuple[nn.Module, nn.Module]:
        """See ``Recipe.networks``: without a penalty, real and generated images share the batches of batch norm."""
        return self.build(layers)

    def optimizers(self, generator: nn.Module, discriminator: nn.Module) -> tuple[Optimizer, Optimizer]:
        """See ``Recipe.optimizers``."""
        c = self.config
        rates = (generator, c.g_lr), (discriminator, c.d_lr)
        g, d = (RMSprop(each.parameters(), lr, c.beta2, momentum=c.beta1) for each, lr in rates)
        return g, d

    def discriminator_loss(
        self, discriminator: nn.Module, generator: nn.Module, images: Tensor, labels: Tensor | None
    ) -> Tensor:
        """See ``Recipe.discriminator_loss``: fakes are reconstructions and images made of noise, as many of each."""
        with torch.no_grad():
            fakes = cast(VAEGANAutoencoder, generator).fakes(self._codes_noise(images), images)
        logits = discriminator(torch.cat([images, fakes]))
        return self.loss.discriminator(logits[: len(images)], logits[len(images) :])

    def generator_loss(
        self, generator: nn.Module, discriminator: nn.Module, images: Tensor, labels: Tensor | None
    ) -> Tensor:
        """See ``Recipe.generator_loss``.

        In nats an image: the encoder descends β KL(q(z | x) ‖ p(z)) - log p(D_l(x) | z), the decoder the second of
        them, weighted by γ, and the loss of the fakes.
        """
        c = self.config
        posterior, reconstructions, fakes = generator(self._codes_noise(images), images, c.gamma)
        means = torch.zeros_like(posterior)  # and logarithms of variances
        divergence = kl_divergence(diagonal_normal(posterior), diagonal_normal(means)).sum(1).mean()
        judge = cast(VAEGANDiscriminator, discriminator)
        made, true = judge.features(torch.cat([reconstructions, images])).chunk(2)
        distance = 0.5 * F.mse_loss(made, true, reduction="sum") / len(images)
        logits = judge(torch.cat([images, fakes]))[len(images) :]
        return c.beta * divergence + c.gamma * distance + self.loss.generator(logits)

    def _codes_noise(self, images: Tensor) -> Tensor:
        """Noise for the codes of ``images``, then for as many images to make."""
        options: dict[str, Any] = {"dtype": images.dtype, "device": images.device}
        return torch.cat([self.latent(len(images), **options) for _ in range(2)])
