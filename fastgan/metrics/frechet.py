"""The Fréchet distance between two Gaussians fitted to features, from the features themselves."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["frechet_distance"]


def _factor(name: str, features: Tensor) -> tuple[Tensor, Tensor]:
    """Mean, and A [d, min(N, d)] with covariance ``A Aᵀ``."""
    if features.ndim != 2 or features.shape[0] < 2:
        raise ValueError(f"frechet_distance: {name} must be [N, d] with N at least 2, got {tuple(features.shape)}")
    x = features.double()
    mean = x.mean(0)
    x = (x - mean) / (len(x) - 1) ** 0.5
    # With more samples than features, the triangle of a QR factorisation is the smaller factor of the same product.
    return mean, x.T if x.shape[0] <= x.shape[1] else torch.linalg.qr(x, mode="r").R.T


def frechet_distance(features1: Tensor, features2: Tensor) -> Tensor:
    """Fréchet distance ``|μ₁ - μ₂|² + tr(Σ₁ + Σ₂ - 2 (Σ₁Σ₂)^½)``, computed in float64.

    With Σ₁ = AAᵀ and Σ₂ = BBᵀ, tr (Σ₁Σ₂)^½ is the sum of the singular values of AᵀB: no square root of the
    non-symmetric product, no jitter, and the same digits whether or not there are more samples than features.

    Parameters
    ----------
    features1, features2 : Tensor
        [N₁, d] and [N₂, d], one sample a row, any floating dtype. Covariances are the unbiased ones (N - 1).

    Returns
    -------
    Tensor
        A float64 scalar. It is biased upwards by a finite number of samples: compare equal numbers only.

    Raises
    ------
    ValueError
        For other shapes, fewer than two samples, or values that are not finite.

    References
    ----------
    D. Dowson, B. Landau, "The Fréchet distance between multivariate normal distributions", 1982; M. Heusel et al.,
    "GANs Trained by a Two Time-Scale Update Rule Converge to a Local Nash Equilibrium", NeurIPS 2017.
    """
    if features1.shape[1:] != features2.shape[1:]:
        raise ValueError(
            "frechet_distance: features1 and features2 must have the same number of features, "
            f"got {tuple(features1.shape)} and {tuple(features2.shape)}"
        )
    mean1, a = _factor("features1", features1)
    mean2, b = _factor("features2", features2)
    product = a.T @ b
    if not torch.isfinite(product).all():
        raise ValueError("frechet_distance: features must be finite")
    cross = torch.linalg.svdvals(product).sum()
    return (mean1 - mean2).square().sum() + a.square().sum() + b.square().sum() - 2 * cross
