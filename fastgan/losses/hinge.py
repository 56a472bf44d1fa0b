"""The hinge loss."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from fastgan.losses.logits import wide

__all__ = ["hinge_discriminator", "hinge_generator"]


def hinge_discriminator(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    r"""Hinge loss of the discriminator: mean of ``max(0, 1 - D(x))`` plus mean of ``max(0, 1 + D(G(z)))``.

    Parameters
    ----------
    real_logits, fake_logits : Tensor
        The discriminator's outputs, any shape. Half types are computed in float32.

    Returns
    -------
    Tensor
        A scalar, differentiable to any order (the second derivative is zero almost everywhere). At the optimum,
        ``D = sign(p - q)``, it is :math:`2 - 2\,\mathrm{TV}(p, q)` with the total variation
        :math:`\mathrm{TV} = \tfrac12 \sum |p - q|`.

    References
    ----------
    J. H. Lim, J. C. Ye, "Geometric GAN", 2017; D. Tran et al., "Hierarchical Implicit Models", 2017.
    """
    return F.relu(1 - wide(real_logits)).mean() + F.relu(1 + wide(fake_logits)).mean()


def hinge_generator(fake_logits: Tensor) -> Tensor:
    """The generator's loss that goes with the hinge: mean of ``-D(G(z))``.

    Parameters
    ----------
    fake_logits : Tensor
        The discriminator's outputs on generated images, any shape. Half types are computed in float32.

    Returns
    -------
    Tensor
        A scalar.
    """
    return -wide(fake_logits).mean()
