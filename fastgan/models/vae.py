"""The variational autoencoder, with labels or without, and its multilayer perceptrons.

D. P. Kingma, M. Welling, "Auto-Encoding Variational Bayes", ICLR 2014, appendix C: one hidden layer of tanh each way.
K. Sohn, H. Lee, X. Yan, "Learning Structured Output Representation using Deep Conditional Generative Models", NeurIPS
2015: a condition, here a label, of encoder, decoder and prior.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .likelihood import diagonal_normal

__all__ = ["Autoencoder", "MLPDecoder", "MLPEncoder"]


class Autoencoder(nn.Module):
    """Codes of images and images of codes; the distributions of codes are normal with diagonal covariances.

    Parameters
    ----------
    encoder : nn.Module
        ``encoder(images, *conditions)`` gives [N, 2 latent_dim]: means and logarithms of variances.
    decoder : nn.Module
        ``decoder(codes, *conditions)`` gives the parameters of a distribution over images.
    mean : callable
        The expected image, of the decoder's outputs.
    num_classes : int, optional
        Number of labels; their one-hot vectors [N, num_classes] are the networks' conditions.
    learned_prior : bool, default: False
        Whether codes have a distribution for each label, which starts as the standard normal one and is learned.
    """

    def __init__(
        self,
        encoder: nn.Module,
        decoder: nn.Module,
        latent_dim: int,
        mean: Callable[[Tensor], Tensor],
        num_classes: int | None = None,
        learned_prior: bool = False,
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.decoder = decoder
        self.latent_dim = latent_dim
        self.mean = mean
        self.num_classes = num_classes
        self.prior_table: nn.Embedding | None = None
        if learned_prior:
            if num_classes is None:
                raise ValueError("Autoencoder: learned_prior needs num_classes, got None")
            self.prior_table = nn.Embedding(num_classes, 2 * latent_dim)
            nn.init.zeros_(self.prior_table.weight)

    def forward(
        self, noise: Tensor, labels: Tensor | None = None, images: Tensor | None = None
    ) -> Tensor | tuple[Tensor, Tensor, Tensor]:
        """Make images of noise, or code images and decode them; all that data parallelism has to see.

        Parameters
        ----------
        noise : Tensor
            Standard normal, [N, latent_dim]: what the codes' distribution scales and shifts.
        labels : Tensor, optional
            int64 [N], for a conditional autoencoder; others ignore them.
        images : Tensor, optional
            What the encoder takes, [N, C, H, W].

        Returns
        -------
        Tensor or tuple of Tensors
            Without ``images``: the expected images [N, C, H, W] of codes from the prior. With them: posterior and prior
            of their codes, each [N, 2 latent_dim] as for ``diagonal_normal``, and the decoder's outputs at a code
            from the posterior.
        """
        prior = self.prior(noise, labels)
        if images is None:
            return self.mean(self.decode(self.sample(prior, noise), labels))
        posterior = self.encode(images, labels)
        return posterior, prior, self.decode(self.sample(posterior, noise), labels)

    def encode(self, images: Tensor, labels: Tensor | None = None) -> Tensor:
        """Posterior of the codes of ``images``, [N, 2 latent_dim]."""
        return self.encoder(images, *self._conditions(labels, images))

    def decode(self, codes: Tensor, labels: Tensor | None = None) -> Tensor:
        """The decoder's outputs at ``codes`` [N, latent_dim]."""
        return self.decoder(codes, *self._conditions(labels, codes))

    def prior(self, like: Tensor, labels: Tensor | None = None) -> Tensor:
        """Prior of the codes of N images, [N, 2 latent_dim], of the type and on the device of ``like`` [N, ...]."""
        if self.prior_table is None:
            return like.new_zeros(len(like), 2 * self.latent_dim)
        return self.prior_table(self._labels(labels, like))

    @staticmethod
    def sample(parameters: Tensor, noise: Tensor) -> Tensor:
        """The codes that ``noise`` [N, latent_dim] stands for in the distributions of ``parameters``."""
        codes = diagonal_normal(parameters)
        return codes.loc + codes.scale * noise

    def _labels(self, labels: Tensor | None, like: Tensor) -> Tensor:
        if labels is None:
            raise ValueError(f"Autoencoder: labels must be int64 [{len(like)}] of {self.num_classes} classes, got None")
        return labels

    def _conditions(self, labels: Tensor | None, like: Tensor) -> tuple[Tensor, ...]:
        if self.num_classes is None:
            return ()
        return (F.one_hot(self._labels(labels, like), self.num_classes).to(like.dtype),)


def _init(layer: nn.Linear) -> nn.Linear:
    """Normal weights and biases of variance 0.01 (section 5)."""
    nn.init.normal_(layer.weight, std=0.1)
    nn.init.normal_(layer.bias, std=0.1)
    return layer


class MLPEncoder(nn.Module):
    """Pixels and conditions to a hidden layer of tanh, to means and logarithms of variances.

    Parameters
    ----------
    latent_dim : int
        Length of a code.
    hidden : int, default: 500
        Width of the hidden layer: 500 is the paper's for MNIST, 200 for Frey Face.
    image_channels, image_size : int, default: 1, 28
        Channels, and height and width, of the images.
    condition_dim : int, default: 0
        Length of the conditions.
    """

    def __init__(
        self,
        latent_dim: int,
        hidden: int = 500,
        image_channels: int = 1,
        image_size: int = 28,
        condition_dim: int = 0,
    ) -> None:
        super().__init__()
        pixels = image_channels * image_size**2
        self.layers = nn.Sequential(
            _init(nn.Linear(pixels + condition_dim, hidden)), nn.Tanh(), _init(nn.Linear(hidden, 2 * latent_dim))
        )

    def forward(self, images: Tensor, *conditions: Tensor) -> Tensor:
        """Code ``images`` [N, image_channels, image_size, image_size]: [N, 2 latent_dim]."""
        return self.layers(torch.cat([images.flatten(1), *conditions], 1))


class MLPDecoder(nn.Module):
    """Codes and conditions to a hidden layer of tanh, to ``outputs`` maps for each channel of an image.

    Parameters are those of :class:`MLPEncoder`.
    """

    def __init__(
        self,
        latent_dim: int,
        hidden: int = 500,
        image_channels: int = 1,
        image_size: int = 28,
        condition_dim: int = 0,
        outputs: int = 1,
    ) -> None:
        super().__init__()
        self.shape = (outputs * image_channels, image_size, image_size)
        self.layers = nn.Sequential(
            _init(nn.Linear(latent_dim + condition_dim, hidden)),
            nn.Tanh(),
            _init(nn.Linear(hidden, math.prod(self.shape))),
        )

    def forward(self, codes: Tensor, *conditions: Tensor) -> Tensor:
        """Outputs [N, outputs · image_channels, image_size, image_size] of ``codes`` [N, latent_dim]."""
        return self.layers(torch.cat([codes, *conditions], 1)).unflatten(1, self.shape)
