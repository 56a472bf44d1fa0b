"""The side of a Fréchet distance that stays: the moments of real features, with a factor of the covariance."""

from __future__ import annotations

import functools
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from fastgan.functional import frechet_distance, psd_factor
from fastgan.functional.frechet import centred, check_features, check_moments, distances

__all__ = ["FrechetReference"]


class FrechetReference:
    """Mean and covariance of reference features, in float64 on the CPU, the covariance as a factor of it.

    The factor is computed once, here; distances from the reference then cost a third less, and its file is all that is
    needed to go on.

    Parameters
    ----------
    mu : Tensor
        ``[d]``.
    factor : Tensor
        ``[d, r]``, whose product with its transpose is the covariance; lower triangular where it is square.

    Examples
    --------
    >>> reference = FrechetReference.from_features(real_features)
    >>> reference.save("real.safetensors")
    >>> FrechetReference.load("real.safetensors").distance_from_features(fake_features)
    """

    def __init__(self, mu: Tensor, factor: Tensor) -> None:
        if mu.dim() != 1 or factor.dim() != 2 or len(mu) != len(factor):
            raise ValueError(
                f"FrechetReference: mu must be [d] and factor [d, r], got {list(mu.shape)} and {list(factor.shape)}"
            )
        if len(factor) < factor.shape[1] or (len(factor) == factor.shape[1] and factor.triu(1).any()):
            raise ValueError(
                "FrechetReference: factor must have fewer columns than rows, or be lower triangular, "
                f"got {list(factor.shape)}"
            )
        self.mu, self.factor = (x.detach().to("cpu", torch.float64) for x in (mu, factor))

    @classmethod
    def from_moments(cls, mu: Tensor, sigma: Tensor) -> FrechetReference:
        """From a mean ``[d]`` and a covariance ``[d, d]`` of any rank, both of one floating dtype."""
        check_moments("FrechetReference", "", mu, sigma)
        return cls(mu, psd_factor(sigma))

    @classmethod
    def from_features(cls, x: Tensor) -> FrechetReference:
        """From features ``[N, d]``, one sample a row; with at most d samples no covariance is formed."""
        check_features("FrechetReference", "x", x)
        if x.dim() != 2:
            raise ValueError(f"FrechetReference: x must be [N, d], got {list(x.shape)}")
        mu, rows = centred(x.detach().to("cpu", torch.float64))
        rows = rows / len(rows) ** 0.5
        return cls(mu, rows.mT.contiguous() if len(rows) < len(mu) else psd_factor(rows.mT @ rows))

    @classmethod
    def load(cls, path: str | Path) -> FrechetReference:
        """From a file that :meth:`save` wrote."""
        from safetensors.torch import load_file

        tensors = load_file(path)
        if not {"mu", "factor"} <= tensors.keys():
            raise ValueError(f"FrechetReference: {path} must hold mu and factor, got {', '.join(sorted(tensors))}")
        return cls(tensors["mu"], tensors["factor"])

    @classmethod
    def from_npz(cls, path: str | Path) -> FrechetReference:
        """From the statistics of pytorch-fid or of TTUR: an ``.npz`` with mu and sigma."""
        with np.load(path) as arrays:
            if not {"mu", "sigma"} <= set(arrays.files):
                raise ValueError(f"FrechetReference: {path} must hold mu and sigma, got {', '.join(arrays.files)}")
            mu, sigma = (torch.from_numpy(np.asarray(arrays[key], np.float64)) for key in ("mu", "sigma"))
        return cls.from_moments(mu, sigma)

    def save(self, path: str | Path) -> None:
        """Write mean and factor as safetensors."""
        from safetensors.torch import save_file

        save_file({"mu": self.mu.contiguous(), "factor": self.factor.contiguous()}, path)

    def save_npz(self, path: str | Path) -> None:
        """Write mean and covariance as pytorch-fid does: an ``.npz`` with mu and sigma."""
        np.savez_compressed(path, mu=self.mu.numpy(), sigma=self.sigma.numpy())

    @functools.cached_property
    def sigma(self) -> Tensor:
        """The covariance ``[d, d]``."""
        return self.factor @ self.factor.mT

    def distance(self, mu: Tensor, sigma: Tensor, *, rtol: float | None = None) -> tuple[Tensor, Tensor]:
        """The Fréchet distance from other moments, and its estimated error.

        Parameters
        ----------
        mu, sigma : Tensor
            ``[..., d]`` and ``[..., d, d]``, computed in float64.
        rtol : float, optional
            As in :func:`fastgan.functional.frechet_distance`.

        Returns
        -------
        distance, error : Tensor
            ``[...]``, float64. Differentiable with respect to mu and sigma as the function is.
        """
        mine = (x.to(sigma.device) for x in (self.mu, self.sigma, self.factor))
        mu1, sigma1, factor1 = mine
        return frechet_distance(mu1, sigma1, mu.double(), sigma.double(), factor1=factor1, return_error=True, rtol=rtol)

    def distance_from_features(self, x: Tensor, *, rtol: float | None = None) -> tuple[Tensor, Tensor]:
        """The Fréchet distance from features ``[N, d]``, and its estimated error, as :meth:`distance` gives them."""
        name = "FrechetReference.distance_from_features"
        check_features(name, "x", x)
        if x.dim() != 2 or x.shape[1] != len(self.mu):
            raise ValueError(f"{name}: x must be [N, {len(self.mu)}], got {list(x.shape)}")
        mu, rows = centred(x.double())
        if len(rows) >= len(self.mu):
            return self.distance(mu, rows.mT @ rows / len(rows), rtol=rtol)
        mu1, factor1 = self.mu.to(x.device), self.factor.to(x.device)
        return distances(name, mu1, factor1.mT, 1, mu, rows, len(rows), rtol)
