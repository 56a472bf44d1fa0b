"""Adversarial losses, as functions of the discriminator's logits."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

__all__ = ["hinge_discriminator", "hinge_generator"]


def hinge_discriminator(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    """Hinge loss of the discriminator: mean of ``max(0, 1 - D(x))`` plus mean of ``max(0, 1 + D(G(z)))``.

    Parameters
    ----------
    real_logits, fake_logits : Tensor
        The discriminator's outputs, any shape.

    Returns
    -------
    Tensor
        A scalar, differentiable to any order (the second derivative is zero almost everywhere).

    References
    ----------
    J. H. Lim, J. C. Ye, "Geometric GAN", 2017; D. Tran et al., "Hierarchical Implicit Models", 2017.
    """
    return F.relu(1 - real_logits).mean() + F.relu(1 + fake_logits).mean()


def hinge_generator(fake_logits: Tensor) -> Tensor:
    """The generator's loss that goes with the hinge: mean of ``-D(G(z))``.

    Parameters
    ----------
    fake_logits : Tensor
        The discriminator's outputs on generated images, any shape.

    Returns
    -------
    Tensor
        A scalar.
    """
    return -fake_logits.mean()
