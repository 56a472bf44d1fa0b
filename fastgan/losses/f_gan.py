"""The f-GAN family: games for an f-divergence between the data p and the generator's q.

An f-divergence is bounded from below by a function T of the samples, through the conjugate f* of f,

    D_f(p, q) = sum q f(p / q)  >=  E_p T - E_q f*(T),

with equality where T = f'(p / q). The discriminator's output v becomes T = g_f(v), which keeps T in the domain of f*.
g_f and f* are those of S. Nowozin, B. Cseke, R. Tomioka, "f-GAN: Training Generative Neural Samplers using Variational
Divergence Minimization", 2016: of its table 2, and of its appendix for the total variation.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from fastgan.losses.logits import softplus, wide

__all__ = ["DIVERGENCES", "FDivergence", "f_gan_discriminator", "f_gan_generator"]


@dataclass(frozen=True)
class FDivergence:
    """What the game for one divergence needs of it.

    Attributes
    ----------
    activation : callable
        g_f(v), which grows with v: a large output means data.
    conjugate : callable
        f*(t), where t is in its domain.
    activated_conjugate : callable
        f*(g_f(v)), simplified: no exponential is taken only for its logarithm to be taken again.
    """

    activation: Callable[[Tensor], Tensor]
    conjugate: Callable[[Tensor], Tensor]
    activated_conjugate: Callable[[Tensor], Tensor]


_LOG_2 = math.log(2)

#: By name. With u = p / q, f is: u log u; -log u; (u - 1)²; (√u - 1)²; u log u - (u + 1) log((u + 1) / 2), which is
#: twice the Jensen-Shannon divergence; |u - 1| / 2; and u log u - (u + 1) log(u + 1), of the minimax game.
DIVERGENCES: dict[str, FDivergence] = {
    "kl": FDivergence(
        activation=lambda v: v,
        conjugate=lambda t: torch.exp(t - 1),
        activated_conjugate=lambda v: torch.exp(v - 1),
    ),
    "reverse_kl": FDivergence(
        activation=lambda v: -torch.exp(-v),
        conjugate=lambda t: -1 - torch.log(-t),
        activated_conjugate=lambda v: v - 1,
    ),
    "pearson_chi2": FDivergence(
        activation=lambda v: v,
        conjugate=lambda t: t * t / 4 + t,
        activated_conjugate=lambda v: v * v / 4 + v,
    ),
    "squared_hellinger": FDivergence(
        activation=lambda v: -torch.expm1(-v),
        conjugate=lambda t: t / (1 - t),
        activated_conjugate=torch.expm1,
    ),
    "jensen_shannon": FDivergence(
        activation=lambda v: _LOG_2 - softplus(-v),
        conjugate=lambda t: -torch.log(2 - torch.exp(t)),
        activated_conjugate=lambda v: softplus(v) - _LOG_2,
    ),
    "total_variation": FDivergence(
        activation=lambda v: torch.tanh(v) / 2,
        conjugate=lambda t: t,
        activated_conjugate=lambda v: torch.tanh(v) / 2,
    ),
    "gan": FDivergence(
        activation=lambda v: -softplus(-v),
        conjugate=lambda t: -torch.log(-torch.expm1(t)),
        activated_conjugate=softplus,
    ),
}


def _divergence(function: str, name: str) -> FDivergence:
    if name not in DIVERGENCES:
        raise ValueError(f"{function}: divergence must be one of {', '.join(DIVERGENCES)}, got {name!r}")
    return DIVERGENCES[name]


def f_gan_discriminator(real_logits: Tensor, fake_logits: Tensor, *, divergence: str) -> Tensor:
    r"""The negative of the bound that the discriminator raises.

    .. math:: -\mathbb E_p\, g_f(D) + \mathbb E_q\, f^*(g_f(D))

    Parameters
    ----------
    real_logits, fake_logits : Tensor
        The discriminator's outputs before the activation g_f, any shape. Half types are computed in float32.
    divergence : str
        kl, reverse_kl, pearson_chi2, squared_hellinger, jensen_shannon, total_variation or gan.

    Returns
    -------
    Tensor
        A scalar, differentiable twice. At the optimum, where :math:`g_f(D) = f'(p / q)`, it is
        :math:`-D_f(p, q)`. The loss itself is an exponential of the outputs for kl (fakes), reverse_kl (reals) and
        squared_hellinger (both), so that it overflows where they are large.

    Raises
    ------
    ValueError
        For an unknown divergence.

    References
    ----------
    S. Nowozin, B. Cseke, R. Tomioka, "f-GAN", 2016, sections 2.2 to 2.4 and table 2; for the total variation its
    appendix.
    """
    f = _divergence("f_gan_discriminator", divergence)
    return f.activated_conjugate(wide(fake_logits)).mean() - f.activation(wide(real_logits)).mean()


def f_gan_generator(fake_logits: Tensor, *, divergence: str, non_saturating: bool = False) -> Tensor:
    r"""The part of the bound that the generator lowers.

    .. math:: -\mathbb E_q\, f^*(g_f(D)) \quad\text{or, non-saturating,}\quad -\mathbb E_q\, g_f(D)

    Parameters
    ----------
    fake_logits : Tensor
        The discriminator's outputs on generated samples before the activation g_f, any shape. Half types are computed
        in float32.
    divergence : str
        kl, reverse_kl, pearson_chi2, squared_hellinger, jensen_shannon, total_variation or gan.
    non_saturating : bool, default False
        Whether to raise the activation instead, as the paper's section 3.2 advises for sparse gradients: for gan that
        is the non-saturating loss.

    Returns
    -------
    Tensor
        A scalar, differentiable twice.

    Raises
    ------
    ValueError
        For an unknown divergence.

    References
    ----------
    S. Nowozin, B. Cseke, R. Tomioka, "f-GAN", 2016, sections 2.3 and 3.2.
    """
    f = _divergence("f_gan_generator", divergence)
    return -(f.activation if non_saturating else f.activated_conjugate)(wide(fake_logits)).mean()
