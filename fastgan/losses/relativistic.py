"""The relativistic pairing loss."""

from __future__ import annotations

from torch import Tensor

from fastgan.losses.logits import check_pairs, softplus, wide

__all__ = ["relativistic_discriminator", "relativistic_generator"]


def relativistic_discriminator(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    r"""How far the discriminator is from telling which of a pair is real.

    .. math:: \mathbb E\, \zeta\bigl(D(G(z)) - D(x)\bigr), \qquad \zeta(x) = \log(1 + e^x)

    Parameters
    ----------
    real_logits, fake_logits : Tensor
        The discriminator's outputs, of one shape, any: each real one is compared with the fake one at its place.
        Half types are computed in float32.

    Returns
    -------
    Tensor
        A scalar, differentiable to any order that ``torch.nn.functional.logsigmoid`` is. At the optimum,
        ``D = log(p / q)`` up to a constant, its expectation is
        :math:`\log 2 - \mathrm{JS}(p \otimes q,\ q \otimes p)`.

    Raises
    ------
    ValueError
        For outputs of different shapes.

    References
    ----------
    A. Jolicoeur-Martineau, "The relativistic discriminator", 2018; N. Huang et al., "The GAN is dead; long live the
    GAN! A Modern GAN Baseline" (R3GAN), 2024, equation 2.
    """
    check_pairs("relativistic_discriminator", real_logits, fake_logits)
    return softplus(wide(fake_logits) - wide(real_logits)).mean()


def relativistic_generator(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    r"""The generator's side of the pairing, with the roles exchanged: the generator needs the real outputs as well.

    .. math:: \mathbb E\, \zeta\bigl(D(x) - D(G(z))\bigr)

    Parameters
    ----------
    real_logits, fake_logits : Tensor
        The discriminator's outputs, of one shape, any. Half types are computed in float32.

    Returns
    -------
    Tensor
        A scalar, differentiable to any order that ``torch.nn.functional.logsigmoid`` is.

    Raises
    ------
    ValueError
        For outputs of different shapes.

    References
    ----------
    As :func:`relativistic_discriminator`.
    """
    check_pairs("relativistic_generator", real_logits, fake_logits)
    return softplus(wide(real_logits) - wide(fake_logits)).mean()
