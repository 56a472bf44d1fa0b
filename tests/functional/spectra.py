"""Covariances whose eigenvectors and eigenvalues are known, for tests of what is computed from them."""

from __future__ import annotations

import math

import torch
from torch import Tensor

__all__ = ["SPECTRA", "covariance", "orthogonal", "scale", "spectrum"]

SPECTRA = ["flat", "geometric-1e-3", "geometric-1e-12", "power-law-1e-6", "power-law-1e-12", "repeated", "clusters"]


def spectrum(kind: str, d: int) -> Tensor:
    """Eigenvalues [d] in descending order, the largest 1."""
    name, _, smallest = kind.rpartition("-1e-")
    low = 10.0 ** -int(smallest) if name else 1.0
    i = torch.arange(d, dtype=torch.float64)
    if name == "geometric":
        return low ** (i / max(d - 1, 1))
    if name == "power-law":
        return (i + 1) ** (math.log(low) / math.log(max(d, 2)))
    if kind == "repeated":
        return torch.where(i < d // 2, 1.0, 0.25)
    if kind == "clusters":
        return 10.0 ** -(i // max(d // 4, 1)) * (1 + 1e-13 * i)
    assert kind == "flat"
    return torch.ones(d, dtype=torch.float64)


def orthogonal(d: int, seed: int) -> Tensor:
    """A random orthogonal matrix [d, d]."""
    generator = torch.Generator().manual_seed(seed)
    return torch.linalg.qr(torch.randn(d, d, generator=generator, dtype=torch.float64)).Q


def covariance(vectors: Tensor, eigenvalues: Tensor) -> Tensor:
    """The symmetric matrix with these eigenvectors and eigenvalues, rounded once."""
    sigma = (vectors * eigenvalues) @ vectors.mT
    return (sigma + sigma.mT) / 2


def scale(sigma1: Tensor, sigma2: Tensor) -> float:
    """What errors of a trace are relative to: (tr Σ₁ tr Σ₂)^½, 1 where it is 0."""
    return (sigma1.trace() * sigma2.trace()).sqrt().item() or 1.0
