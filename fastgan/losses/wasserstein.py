"""The Wasserstein loss."""

from __future__ import annotations

from torch import Tensor

from fastgan.losses.logits import wide

__all__ = ["wasserstein_discriminator", "wasserstein_generator"]


def wasserstein_discriminator(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    r"""The critic's loss: mean of ``D(G(z))`` less mean of ``D(x)``.

    Parameters
    ----------
    real_logits, fake_logits : Tensor
        The critic's outputs, any shape. Half types are computed in float32.

    Returns
    -------
    Tensor
        A scalar. Its minimum over critics of Lipschitz constant 1 is :math:`-W_1(p, q)`; without such a bound, by a
        gradient penalty for instance, it has none.

    References
    ----------
    M. Arjovsky, S. Chintala, L. Bottou, "Wasserstein GAN", 2017, equation 2.
    """
    return wide(fake_logits).mean() - wide(real_logits).mean()


def wasserstein_generator(fake_logits: Tensor) -> Tensor:
    """The generator's loss: mean of ``-D(G(z))``.

    Parameters
    ----------
    fake_logits : Tensor
        The critic's outputs on generated samples, any shape. Half types are computed in float32.

    Returns
    -------
    Tensor
        A scalar.
    """
    return -wide(fake_logits).mean()
