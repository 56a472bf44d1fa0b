"""Lower bounds of an autoencoder's log-likelihood, in nats an image."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.distributions import kl_divergence

from fastgan.data import ImageData
from fastgan.models.likelihood import Likelihood, diagonal_normal
from fastgan.models.vae import Autoencoder

__all__ = ["Bound", "BoundEvaluator", "evidence_terms", "held_out_bound", "importance_weighted_bound"]

_CHUNK = 250


class Bound(NamedTuple):
    """A mean over images, in nats, and its standard error."""

    mean: float
    standard_error: float


def evidence_terms(
    autoencoder: nn.Module, likelihood: Likelihood, x: Tensor, labels: Tensor | None, noise: Tensor
) -> tuple[Tensor, Tensor]:
    """Both terms of the evidence lower bound log p(x) ≥ E log p(x | z) - KL(q(z | x) ‖ p(z)), one code an image.

    Parameters
    ----------
    autoencoder : nn.Module
        An ``Autoencoder``, or what data parallelism makes of it; called once.
    likelihood : Likelihood
        Of ``x`` given the decoder's outputs.
    x : Tensor
        [N, C, H, W], from ``likelihood.draw``.
    labels : Tensor, optional
        int64 [N], for a conditional autoencoder: all is then given the label.
    noise : Tensor
        Standard normal, [N, latent_dim].

    Returns
    -------
    tuple of Tensor
        log p(x | z) and the divergence, both [N].

    References
    ----------
    D. P. Kingma, M. Welling, "Auto-Encoding Variational Bayes", ICLR 2014, equation 10.
    """
    posterior, prior, outputs = autoencoder(noise, labels, x)
    divergence = kl_divergence(diagonal_normal(posterior), diagonal_normal(prior)).sum(1)
    return likelihood.log_prob(outputs, x), divergence


def importance_weighted_bound(
    autoencoder: Autoencoder, likelihood: Likelihood, x: Tensor, labels: Tensor | None, noise: Tensor
) -> Tensor:
    """The importance-weighted bound log p(x) ≥ E log 1/K Σ p(x, z_k) / q(z_k | x), tighter with every code.

    Parameters are those of :func:`evidence_terms`, with ``noise`` [K, N, latent_dim]: K codes an image. Returns [N].

    References
    ----------
    Y. Burda, R. Grosse, R. Salakhutdinov, "Importance Weighted Autoencoders", ICLR 2016, equation 8.
    """
    encoded = autoencoder.encode(x, labels)
    posterior, prior = diagonal_normal(encoded), diagonal_normal(autoencoder.prior(x, labels))
    weights = []
    for draw in noise:
        codes = autoencoder.sample(encoded, draw)
        ratio = (prior.log_prob(codes) - posterior.log_prob(codes)).sum(1)
        weights.append(likelihood.log_prob(autoencoder.decode(codes, labels), x) + ratio)
    return torch.stack(weights).logsumexp(0) - math.log(len(noise))


@torch.no_grad()
def held_out_bound(
    autoencoder: Autoencoder, likelihood: Likelihood, data: ImageData, *, importance_samples: int = 1, images: int = 0
) -> Bound:
    """A bound on ``data``, of an autoencoder in evaluation mode; the same noise every time.

    Parameters
    ----------
    autoencoder : Autoencoder
        In evaluation mode.
    likelihood : Likelihood
        Draws what is modelled, once an image.
    data : ImageData
        Images that training has not seen.
    importance_samples : int, default: 1
        1 for the evidence lower bound, with its divergence in closed form; more for the importance-weighted one.
    images : int, default: 0
        The first so many images; 0 for all.
    """
    parameter = next(autoencoder.parameters())
    random = torch.Generator().manual_seed(1)
    values = []
    for chunk in torch.arange(min(images or len(data), len(data))).split(_CHUNK):
        pixels, labels = data.batch(chunk)
        x = likelihood.draw(pixels / 127.5 - 1, random).to(parameter)
        labels = None if labels is None else labels.to(parameter.device)
        noise = torch.randn(importance_samples, len(x), autoencoder.latent_dim, generator=random).to(parameter)
        if importance_samples == 1:
            reconstruction, divergence = evidence_terms(autoencoder, likelihood, x, labels, noise[0])
            values.append(reconstruction - divergence)
        else:
            values.append(importance_weighted_bound(autoencoder, likelihood, x, labels, noise))
    bounds = torch.cat(values).double()
    return Bound(bounds.mean().item(), bounds.std().item() / math.sqrt(len(bounds)))


class BoundEvaluator:
    """The evidence lower bound during training, on images held out; ``standard_error`` is that of the last mean.

    Parameters
    ----------
    likelihood : Likelihood
        See :func:`held_out_bound`.
    held_out : ImageData
        Images that training does not see, at least two.
    images : int
        At most so many are used.
    """

    def __init__(self, likelihood: Likelihood, held_out: ImageData, images: int) -> None:
        self._likelihood, self._data, self._images = likelihood, held_out, min(images, len(held_out))
        self.standard_error = float("nan")
        self.title = f"nats an image ({likelihood.title}), on {self._images} images not trained on"

    def __call__(self, generator: nn.Module) -> float:
        """The mean."""
        assert isinstance(generator, Autoencoder)
        mean, self.standard_error = held_out_bound(generator, self._likelihood, self._data, images=self._images)
        return mean
