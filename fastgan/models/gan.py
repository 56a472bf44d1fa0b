"""The multilayer perceptrons of the first GAN.

Architecture: I. Goodfellow et al., "Generative Adversarial Nets", NeurIPS 2014, section 5, with the sizes of the
authors' published settings for MNIST: rectified layers and a sigmoid in the generator, maxout layers with dropout in
the discriminator. Maxout: I. Goodfellow et al., "Maxout Networks", ICML 2013.
"""

from __future__ import annotations

import math

from torch import Tensor, nn

__all__ = ["MLPDiscriminator", "MLPGenerator", "Maxout"]


def _init(layer: nn.Linear, bound: float) -> nn.Linear:
    """Uniform weights in [-bound, bound] and zero biases, as published."""
    nn.init.uniform_(layer.weight, -bound, bound)
    nn.init.zeros_(layer.bias)
    return layer


class Maxout(nn.Module):
    """The largest of several linear functions, for each of ``units`` outputs.

    Parameters
    ----------
    in_features, units : int
        Size of an input and of an output.
    pieces : int
        Linear functions an output is the largest of.
    """

    def __init__(self, in_features: int, units: int, pieces: int) -> None:
        super().__init__()
        self.units = units
        self.linear = _init(nn.Linear(in_features, units * pieces), 0.005)

    def forward(self, x: Tensor) -> Tensor:
        """``x`` [N, in_features] to [N, units]."""
        return self.linear(x).unflatten(1, (self.units, -1)).amax(2)


class MLPGenerator(nn.Module):
    """Two rectified layers and a sigmoid, scaled to [-1, 1].

    Parameters
    ----------
    latent_dim : int, default: 100
        Length of the noise vector.
    channels : int, default: 1200
        Width of the hidden layers; 1200 is the paper's.
    image_channels, image_size : int, default: 1, 28
        Channels, and height and width, of the images made.
    """

    def __init__(
        self, latent_dim: int = 100, channels: int = 1200, image_channels: int = 1, image_size: int = 28
    ) -> None:
        super().__init__()
        self.shape = (image_channels, image_size, image_size)
        self.layers = nn.Sequential(
            _init(nn.Linear(latent_dim, channels), 0.05),
            nn.ReLU(),
            _init(nn.Linear(channels, channels), 0.05),
            nn.ReLU(),
            _init(nn.Linear(channels, math.prod(self.shape)), 0.05),
        )

    def forward(self, latent: Tensor) -> Tensor:
        """Make images in [-1, 1], [N, image_channels, image_size, image_size], of ``latent`` [N, latent_dim]."""
        pixels = self.layers(latent).sigmoid().unflatten(1, self.shape)
        return 2 * pixels - 1


class MLPDiscriminator(nn.Module):
    """Two maxout layers, with dropout on what each takes in, and a linear one.

    Parameters
    ----------
    channels : int, default: 240
        Units of a maxout layer; 240 is the paper's.
    pieces : int, default: 5
        Linear functions a unit is the largest of; 5 is the paper's.
    image_channels, image_size : int, default: 1, 28
        Channels, and height and width, of the images judged.
    """

    def __init__(self, channels: int = 240, pieces: int = 5, image_channels: int = 1, image_size: int = 28) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Flatten(),
            nn.Dropout(0.2),
            Maxout(image_channels * image_size**2, channels, pieces),
            nn.Dropout(0.5),
            Maxout(channels, channels, pieces),
            nn.Dropout(0.5),
            _init(nn.Linear(channels, 1), 0.005),
        )

    def forward(self, images: Tensor) -> Tensor:
        """Judge ``images`` [N, image_channels, image_size, image_size] in [-1, 1]: one logit an image, [N]."""
        # The published networks take pixels in [0, 1].
        return self.layers((images + 1) / 2).squeeze(1)
