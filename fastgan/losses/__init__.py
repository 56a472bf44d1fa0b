"""Adversarial losses, as functions of the discriminator's logits.

Each is a pair, ``x_discriminator(real_logits, fake_logits)`` and ``x_generator(fake_logits)``; the relativistic
generator takes both outputs. :func:`get` finds a pair by its name. In the docstrings p is the distribution of the data
and q that of the generator, and D stands for the discriminator's output.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

from torch import Tensor

from fastgan.losses.f_gan import DIVERGENCES, FDivergence, f_gan_discriminator, f_gan_generator
from fastgan.losses.hinge import hinge_discriminator, hinge_generator
from fastgan.losses.least_squares import least_squares_discriminator, least_squares_generator
from fastgan.losses.logistic import (
    minimax_discriminator,
    minimax_generator,
    non_saturating_discriminator,
    non_saturating_generator,
)
from fastgan.losses.relativistic import relativistic_discriminator, relativistic_generator
from fastgan.losses.wasserstein import wasserstein_discriminator, wasserstein_generator

__all__ = [
    "DIVERGENCES",
    "LOSSES",
    "FDivergence",
    "Loss",
    "f_gan_discriminator",
    "f_gan_generator",
    "get",
    "hinge_discriminator",
    "hinge_generator",
    "least_squares_discriminator",
    "least_squares_generator",
    "minimax_discriminator",
    "minimax_generator",
    "non_saturating_discriminator",
    "non_saturating_generator",
    "relativistic_discriminator",
    "relativistic_generator",
    "wasserstein_discriminator",
    "wasserstein_generator",
]


class Loss(NamedTuple):
    """The two sides of a game.

    Attributes
    ----------
    discriminator : callable
        ``discriminator(real_logits, fake_logits)``.
    generator : callable
        ``generator(fake_logits)``, or ``generator(real_logits, fake_logits)`` where the loss is paired.
    """

    discriminator: Callable[[Tensor, Tensor], Tensor]
    generator: Callable[..., Tensor]

    @property
    def paired(self) -> bool:
        """Whether the generator's side needs the discriminator's outputs on real samples, too."""
        return "real_logits" in inspect.signature(self.generator).parameters


#: Every pair by name: the f-GAN family under the names of its divergences.
LOSSES: dict[str, Loss] = {
    "non_saturating": Loss(non_saturating_discriminator, non_saturating_generator),
    "minimax": Loss(minimax_discriminator, minimax_generator),
    "hinge": Loss(hinge_discriminator, hinge_generator),
    "wasserstein": Loss(wasserstein_discriminator, wasserstein_generator),
    "least_squares": Loss(least_squares_discriminator, least_squares_generator),
    "relativistic": Loss(relativistic_discriminator, relativistic_generator),
    **{
        name: Loss(partial(f_gan_discriminator, divergence=name), partial(f_gan_generator, divergence=name))
        for name in DIVERGENCES
    },
}


def get(name: str) -> Loss:
    """The pair of losses called `name`.

    Parameters
    ----------
    name : str
        non_saturating, minimax, hinge, wasserstein, least_squares, relativistic, kl, reverse_kl, pearson_chi2,
        squared_hellinger, jensen_shannon, total_variation or gan.

    Returns
    -------
    Loss
        ``(discriminator, generator)``.

    Raises
    ------
    ValueError
        For an unknown name.
    """
    if name not in LOSSES:
        raise ValueError(f"losses.get: name must be one of {', '.join(LOSSES)}, got {name!r}")
    return LOSSES[name]
