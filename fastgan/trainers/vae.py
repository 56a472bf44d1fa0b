"""The variational autoencoder: Bernoulli or Gaussian pixels, and a weight β of the codes' divergence.

D. P. Kingma, M. Welling, "Auto-Encoding Variational Bayes", ICLR 2014; β: I. Higgins et al., "beta-VAE: Learning Basic
Visual Concepts with a Constrained Variational Framework", ICLR 2017.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.optim import Adagrad, Adam, Optimizer

from fastgan.data import ImageData
from fastgan.models.layers import Layers
from fastgan.models.likelihood import LIKELIHOODS
from fastgan.models.vae import Autoencoder, MLPDecoder, MLPEncoder
from fastgan.models.vaegan import ConvDecoder, ConvEncoder

from .adversarial import check_batch_norm, check_positive, check_unused
from .bounds import BoundEvaluator, evidence_terms
from .config import ConfigError, TrainConfig, setting
from .recipe import Evaluator, Recipe

__all__ = ["VAE", "VAEConfig"]


@dataclass
class VAEConfig(TrainConfig):
    """Settings of a run; the defaults are the preset ``paper``."""

    image_size: int = setting(28, "height and width the images are brought to")
    steps: int = setting(1_000_000, "updates in the whole run", free=True)
    batch_size: int = setting(100, "images a process uses in one update")
    held_out: int = setting(10_000, "images kept from training, to measure the bound on")
    metric_every: int = setting(10_000, "steps between evidence lower bounds, 0 for never", free=True)
    metric_samples: int = setting(10_000, "held-out images at most that the bound is measured on", free=True)
    ema_decay: float = setting(0.0, "decay of the moving average a step, in [0, 1)")
    likelihood: str = setting("bernoulli", "of pixels: bernoulli (binarised images) or gaussian (dequantised ones)")
    beta: float = setting(1.0, "weight of the codes' divergence from their prior")
    networks: str = setting("mlp", "mlp (one hidden layer), or conv (VAE/GAN's; image_size a multiple of 8)")
    latent_dim: int = setting(20, "length of a code")
    hidden: int = setting(500, "width of the hidden layers")
    channels: int = setting(64, "width of conv's first convolution")
    optimizer: str = setting("adagrad", "adagrad or adam")
    lr: float = setting(0.01, "learning rate")
    weight_decay: float = setting(1 / 60_000, "weight of half the squared parameters; adagrad only")

    def __post_init__(self) -> None:
        super().__post_init__()
        check_positive(self, "latent_dim", "hidden", "channels", "beta", "lr")
        known = {"likelihood": tuple(LIKELIHOODS), "networks": ("mlp", "conv"), "optimizer": ("adagrad", "adam")}
        for name, values in known.items():
            if getattr(self, name) not in values:
                raise ConfigError(f"unknown {name} {getattr(self, name)!r}; there are: {', '.join(values)}")
        if self.networks == "conv":
            check_batch_norm(self)
            if self.image_size % 8:
                raise ConfigError(f"image_size must be a multiple of 8 for networks=conv, got {self.image_size}")
        if self.optimizer == "adam":
            check_unused(self, "with optimizer=adam: it is adagrad's", "weight_decay")
        if self.metric_every and self.held_out < 2:
            raise ConfigError(f"held_out must be at least 2 to measure the bound, got {self.held_out}")


class VAE(Recipe):
    """See the module."""

    name = "vae"
    Config = VAEConfig
    metric = "evidence lower bound"
    # paper: section 5 and appendix C, for MNIST: one hidden layer of 500, batches of 100, Adagrad of rate 0.01, 0.02 or
    # 0.1; its normal prior of the parameters is a weight decay of one over the number of images.
    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "paper": {},
        "small": {
            "image_size": 32, "networks": "conv", "channels": 16, "hidden": 256, "latent_dim": 32, "optimizer": "adam",
            "lr": 1e-3, "steps": 3000, "ema_decay": 0.99, "held_out": 2000, "metric_every": 500, "sample_every": 500,
            "log_every": 50,
        },
    }  # fmt: skip
    default_preset = "small"

    def __init__(self, config: Any, image_channels: int, num_classes: int | None) -> None:
        self.config = config
        self.image_channels = image_channels
        self.num_classes = None
        self.likelihood = LIKELIHOODS[config.likelihood]()

    def networks(self, layers: Layers) -> tuple[nn.Module, None]:
        """See ``Recipe.networks``: encoder and decoder are one module, and there is no discriminator."""
        c, outputs = self.config, self.likelihood.outputs
        shape = (self.image_channels, c.image_size, self.num_classes or 0)
        encoder: nn.Module
        decoder: nn.Module
        if c.networks == "mlp":
            encoder = MLPEncoder(c.latent_dim, c.hidden, *shape)
            decoder = MLPDecoder(c.latent_dim, c.hidden, *shape, outputs)
        else:
            encoder = ConvEncoder(c.latent_dim, c.channels, c.hidden, *shape, layers)
            decoder = ConvDecoder(c.latent_dim, c.channels, *shape, outputs, layers)
        means = self.likelihood.mean
        return Autoencoder(encoder, decoder, c.latent_dim, means, self.num_classes, self._learned_prior()), None

    def _learned_prior(self) -> bool:
        return False

    def optimizers(self, generator: nn.Module, discriminator: None) -> tuple[Optimizer, None]:
        """See ``Recipe.optimizers``."""
        c = self.config
        if c.optimizer == "adam":
            return Adam(generator.parameters(), c.lr, fused=True), None
        return Adagrad(generator.parameters(), c.lr, weight_decay=c.weight_decay), None

    def generator_loss(
        self, generator: nn.Module, discriminator: None, images: Tensor, labels: Tensor | None
    ) -> Tensor:
        """See ``Recipe.generator_loss``: minus the evidence lower bound, in nats an image, for β = 1."""
        noise = torch.randn(len(images), self.config.latent_dim, dtype=images.dtype, device=images.device)
        x = self.likelihood.draw(images)
        reconstruction, divergence = evidence_terms(generator, self.likelihood, x, labels, noise)
        return (self.config.beta * divergence - reconstruction).mean()

    def sample(self, generator: nn.Module, n: int, labels: Tensor | None, random: torch.Generator) -> Tensor:
        """See ``Recipe.sample``: the expected images of codes from the prior."""
        parameter = next(generator.parameters())
        noise = torch.randn(n, self.config.latent_dim, generator=random).to(parameter)
        return generator(noise, None if labels is None else labels.to(parameter.device))

    def evaluator(self, data: ImageData, held_out: ImageData | None, samples: int, device: torch.device) -> Evaluator:
        """See ``Recipe.evaluator``: the evidence lower bound."""
        if held_out is None:
            raise ConfigError("held_out must be at least 2 to measure the bound, got 0")
        return BoundEvaluator(self.likelihood, held_out, samples)
