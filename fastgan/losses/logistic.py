"""The losses of the first GAN: minimax, and the non-saturating form of its generator."""

from __future__ import annotations

from torch import Tensor

from fastgan.losses.logits import softplus, wide

__all__ = ["minimax_discriminator", "minimax_generator", "non_saturating_discriminator", "non_saturating_generator"]


def non_saturating_discriminator(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    r"""Cross entropy of the discriminator: mean of ``-log s(D(x))`` plus mean of ``-log(1 - s(D(G(z))))``.

    .. math:: \mathbb E_p\, \zeta(-D) + \mathbb E_q\, \zeta(D), \qquad \zeta(x) = \log(1 + e^x)

    Parameters
    ----------
    real_logits, fake_logits : Tensor
        The discriminator's outputs before the sigmoid s, any shape. Half types are computed in float32.

    Returns
    -------
    Tensor
        A scalar, differentiable to any order that ``torch.nn.functional.logsigmoid`` is. At the optimum,
        ``D = log(p / q)``, it is :math:`2 \log 2 - 2\,\mathrm{JS}(p, q)`.

    References
    ----------
    I. Goodfellow et al., "Generative Adversarial Nets", 2014, equation 1 and theorem 1.
    """
    return softplus(-wide(real_logits)).mean() + softplus(wide(fake_logits)).mean()


def non_saturating_generator(fake_logits: Tensor) -> Tensor:
    r"""Mean of ``-log s(D(G(z)))``, whose gradient does not vanish where the discriminator is sure.

    Parameters
    ----------
    fake_logits : Tensor
        The discriminator's outputs on generated samples before the sigmoid s, any shape. Half types are computed in
        float32.

    Returns
    -------
    Tensor
        A scalar. At the discriminator's optimum it is
        :math:`\log 2 + \mathrm{KL}(q \Vert p) - \mathrm{KL}(q \Vert \tfrac{p + q}{2})`.

    References
    ----------
    I. Goodfellow et al., "Generative Adversarial Nets", 2014, section 3; M. Arjovsky, L. Bottou, "Towards Principled
    Methods for Training Generative Adversarial Networks", 2017, theorem 2.5.
    """
    return softplus(-wide(fake_logits)).mean()


def minimax_discriminator(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    """The discriminator's side of the minimax game: :func:`non_saturating_discriminator`.

    Parameters
    ----------
    real_logits, fake_logits : Tensor
        The discriminator's outputs before the sigmoid, any shape. Half types are computed in float32.

    Returns
    -------
    Tensor
        A scalar.
    """
    return non_saturating_discriminator(real_logits, fake_logits)


def minimax_generator(fake_logits: Tensor) -> Tensor:
    r"""The generator's side of the minimax game: mean of ``log(1 - s(D(G(z))))``.

    Parameters
    ----------
    fake_logits : Tensor
        The discriminator's outputs on generated samples before the sigmoid s, any shape. Half types are computed in
        float32.

    Returns
    -------
    Tensor
        A scalar, :math:`-\mathbb E_q\, \zeta(D)`. Its gradient vanishes where the discriminator is sure of its fakes;
        :func:`non_saturating_generator` is the usual choice.

    References
    ----------
    I. Goodfellow et al., "Generative Adversarial Nets", 2014, equation 1.
    """
    return -softplus(wide(fake_logits)).mean()
