"""Log-likelihood of samples under a mixture of Gaussians that sit on other samples."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from .distances import Points, check_features, tile_distances, tiles

__all__ = ["parzen_log_likelihood"]


@torch.no_grad()
def parzen_log_likelihood(x: Tensor, samples: Tensor, sigma: float | Tensor) -> Tensor:
    r"""Log density of each ``x`` under ``1/N Σ_n Normal(samples_n, sigma² I)``, the Parzen window estimate.

    Parameters
    ----------
    x : Tensor
        [M, d], one sample a row: the points whose likelihood is asked for. float32, float64, float16 or bfloat16.
    samples : Tensor
        [N, d]: the mixture's centres, drawn from the model.
    sigma : float or Tensor
        Standard deviation of each Gaussian, in the samples' units; or [S] of them, whose densities then share the
        distances.

    Returns
    -------
    Tensor
        float64 [M], or [S, M] for several sigma; in nats.

    Raises
    ------
    TypeError
        For samples that are not floating point.
    ValueError
        For other shapes, values that are not finite, or sigma that is not positive.

    Notes
    -----
    Computed in float64 in tiles of 1024 × 1024 distances, the sums of exponentials relative to the nearest sample:
    neither many nor distant samples overflow or vanish. Not differentiable.

    I. Goodfellow et al., "Generative Adversarial Nets", NeurIPS 2014, section 5. L. Theis et al., "A note on the
    evaluation of generative models", ICLR 2016, section 3.2, shows how little these likelihoods say in many dimensions.
    """
    function = "parzen_log_likelihood"
    check_features(function, x=x, samples=samples)
    widths = torch.as_tensor(sigma, dtype=torch.float64, device=x.device)
    if widths.dim() > 1 or widths.numel() == 0 or not (torch.isfinite(widths) & (widths > 0)).all():
        raise ValueError(f"{function}: sigma must be positive, a number or [S], got {sigma}")
    centre = Points.centre_of(samples).double()
    points, centres = Points(x, centre), Points(samples, centre)
    precision = 0.5 / widths.reshape(-1, 1).square()  # [S, 1]
    result = torch.empty(len(precision), len(x), dtype=torch.float64, device=x.device)
    for rows in tiles(len(x)):
        own = points[rows]
        log_sum = torch.full_like(result[:, rows], -torch.inf)
        for columns in tiles(len(samples)):
            distances = tile_distances(points, rows, centres, columns, own).clamp_(min=0)
            nearest = distances.amin(1)
            beyond = distances.sub_(nearest[:, None])
            for total, scale in zip(log_sum, precision, strict=True):
                new = torch.exp(-scale * beyond).sum(1).log_() - scale * nearest
                torch.logaddexp(total, new, out=total)
        result[:, rows] = log_sum
    constant = math.log(len(samples)) + 0.5 * x.shape[1] * torch.log(2 * math.pi * widths.reshape(-1, 1).square())
    return (result - constant).reshape(*widths.shape, len(x))
