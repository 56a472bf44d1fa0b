"""The least-squares loss."""

from __future__ import annotations

from torch import Tensor

from fastgan.losses.logits import wide

__all__ = ["least_squares_discriminator", "least_squares_generator"]


def least_squares_discriminator(
    real_logits: Tensor, fake_logits: Tensor, *, real_target: float = 1.0, fake_target: float = 0.0
) -> Tensor:
    r"""Half the mean squares of the discriminator's distances from its targets.

    .. math:: \tfrac12 \mathbb E_p (D - b)^2 + \tfrac12 \mathbb E_q (D - a)^2

    Parameters
    ----------
    real_logits, fake_logits : Tensor
        The discriminator's outputs, any shape. Half types are computed in float32.
    real_target, fake_target : float
        b and a, by default 1 and 0.

    Returns
    -------
    Tensor
        A scalar, differentiable to any order. At the optimum, ``D = (b p + a q) / (p + q)``, it is
        :math:`\tfrac{(b - a)^2}{2} \sum \tfrac{p q}{p + q}`.

    References
    ----------
    X. Mao et al., "Least Squares Generative Adversarial Networks", 2017, equation 2 (its equation 9 with the defaults).
    """
    real, fake = wide(real_logits) - real_target, wide(fake_logits) - fake_target
    return 0.5 * (real.square().mean() + fake.square().mean())


def least_squares_generator(fake_logits: Tensor, *, target: float = 1.0) -> Tensor:
    r"""Half the mean square of the discriminator's distance from what the generator wants it to say.

    .. math:: \tfrac12 \mathbb E_q (D - c)^2

    Parameters
    ----------
    fake_logits : Tensor
        The discriminator's outputs on generated samples, any shape. Half types are computed in float32.
    target : float, default 1
        c. With targets b - c = 1 and b - a = 2 the two sides play for a Pearson χ² divergence.

    Returns
    -------
    Tensor
        A scalar, differentiable to any order.

    References
    ----------
    X. Mao et al., "Least Squares Generative Adversarial Networks", 2017, equation 2 and section 3.2.3.
    """
    return 0.5 * (wide(fake_logits) - target).square().mean()
