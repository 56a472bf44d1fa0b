"""What a decoder's outputs say about an image: independent pixels, Bernoulli or Gaussian.

Appendix C of D. P. Kingma, M. Welling, "Auto-Encoding Variational Bayes", ICLR 2014.
"""

from __future__ import annotations

import math
from typing import ClassVar, Protocol

import torch
from torch import Tensor
from torch.distributions import Normal
from torch.nn import functional as F

from fastgan.losses.logits import wide

__all__ = ["LIKELIHOODS", "BernoulliLikelihood", "GaussianLikelihood", "Likelihood", "diagonal_normal"]

_LEVELS = 256


def diagonal_normal(parameters: Tensor) -> Normal:
    """The distribution of ``parameters`` [N, 2 K, ...]: K means, then K logarithms of variances; not in half types."""
    mean, log_var = wide(parameters).chunk(2, dim=1)
    return Normal(mean, (log_var / 2).exp(), validate_args=False)


class Likelihood(Protocol):
    """A distribution over images given a decoder's outputs."""

    #: Maps of outputs that each channel of an image takes.
    outputs: ClassVar[int]
    #: What it is a density or probability of.
    title: ClassVar[str]

    def draw(self, images: Tensor, random: torch.Generator | None = None) -> Tensor:
        """What is modelled in place of ``images`` [N, C, H, W] in [-1, 1], 256 levels: a random version in [0, 1]."""
        ...

    def log_prob(self, outputs: Tensor, x: Tensor) -> Tensor:
        """Nats an image, [N], of ``x`` from ``draw``, given ``outputs`` [N, outputs · C, H, W]."""
        ...

    def mean(self, outputs: Tensor) -> Tensor:
        """The expected image, [N, C, H, W] in [-1, 1]."""
        ...


class BernoulliLikelihood:
    """Black or white pixels; ``outputs`` are logits.

    Images are binarised anew at each look: a pixel is white with its grey value for a probability (R. Salakhutdinov,
    I. Murray, "On the quantitative analysis of deep belief networks", ICML 2008).
    """

    outputs: ClassVar[int] = 1
    title: ClassVar[str] = "binarised"

    def draw(self, images: Tensor, random: torch.Generator | None = None) -> Tensor:
        """See :class:`Likelihood`."""
        return torch.bernoulli(((images + 1) / 2).clamp(0, 1), generator=random)

    def log_prob(self, outputs: Tensor, x: Tensor) -> Tensor:
        """See :class:`Likelihood`."""
        return -F.binary_cross_entropy_with_logits(wide(outputs), x, reduction="none").flatten(1).sum(1)

    def mean(self, outputs: Tensor) -> Tensor:
        """See :class:`Likelihood`."""
        return 2 * outputs.sigmoid() - 1


class GaussianLikelihood:
    """Grey values; ``outputs`` are the logits of means in (0, 1), then logarithms of variances.

    The 256 levels are made continuous by uniform noise of a level's width, and the density is multiplied by that width:
    its logarithm is then a lower bound of the level's log-probability, and cannot grow without limit (L. Theis, A. van
    den Oord, M. Bethge, "A note on the evaluation of generative models", ICLR 2016, section 3.1). No variance is
    smaller than that noise's own.
    """

    outputs: ClassVar[int] = 2
    title: ClassVar[str] = "256 levels, dequantised"

    def draw(self, images: Tensor, random: torch.Generator | None = None) -> Tensor:
        """See :class:`Likelihood`."""
        levels = ((images + 1) * ((_LEVELS - 1) / 2)).round()
        noise = torch.rand(images.shape, dtype=images.dtype, device=images.device, generator=random)
        return (levels + noise) / _LEVELS

    def log_prob(self, outputs: Tensor, x: Tensor) -> Tensor:
        """See :class:`Likelihood`."""
        logits, log_var = wide(outputs).chunk(2, dim=1)
        variance = log_var.exp() + 1 / (12 * _LEVELS**2)
        density = -0.5 * ((x - logits.sigmoid()).square() / variance + variance.log() + math.log(2 * math.pi))
        return (density - math.log(_LEVELS)).flatten(1).sum(1)

    def mean(self, outputs: Tensor) -> Tensor:
        """See :class:`Likelihood`."""
        levels = outputs.chunk(2, dim=1)[0].sigmoid() * _LEVELS - 0.5
        return (levels * (2 / (_LEVELS - 1)) - 1).clamp(-1, 1)


LIKELIHOODS: dict[str, type[Likelihood]] = {"bernoulli": BernoulliLikelihood, "gaussian": GaussianLikelihood}
