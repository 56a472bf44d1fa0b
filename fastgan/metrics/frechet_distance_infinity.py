"""The Fréchet distance that infinitely many samples would have."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from fastgan.functional.distances import tiles

from . import moments
from .base import FEATURES, MOMENTS, PairMetric
from .order import shuffled
from .reference import FrechetReference

__all__ = ["FrechetDistanceInfinity"]


class FrechetDistanceInfinity(PairMetric):
    r"""Fréchet distance extrapolated to infinitely many fake samples, where its bias is gone.

    The distance is computed for several numbers N of fake samples; its bias falls as 1 / N, so the line through the
    distances over 1 / N is followed to 0.

    Parameters
    ----------
    feature : int, str, nn.Module or None, default: 2048
        Inception's layer, a name that ``fastgan.features.get`` knows, a network of one's own, or None where ``update``
        takes features [N, d]. Inception's weights must be here: no other network is put in its place.
    num_points : int, default: 15
        Numbers of samples, evenly spaced from ``min_fake`` to all.
    min_fake : int, default: 5000
        The smallest of them.
    reset_real_features : bool, default: True
        Whether ``reset`` also forgets the real images.
    normalize : bool, default: False
        Whether images are in [0, 1] and are rounded down to 256 steps.
    seed : int, default: 0
        Of the order in which samples are added, which depends on it and on the features alone.
    feature_extractor_weights_path : str, optional
        A file with Inception's weights.
    antialias : bool, default: True
        How images are brought to Inception's size, as in torchmetrics.
    return_error : bool, default: False
        Whether ``compute`` also returns the estimated absolute error of the computation. It says nothing of the spread
        between samples, which is much larger.
    rtol : float, optional
        Error wanted of each distance, as in ``FrechetDistance``.
    kwargs : Any
        Of ``torchmetrics.Metric``.

    Notes
    -----
    ``compute`` returns a float64 scalar. Fake features are kept, real ones only as mean and scatter, whose factor all
    distances share; each of them costs one symmetric eigenvalue problem. Each set of fake samples holds the smaller
    ones, so moments are summed once; every set is still a random one. The bias by the real samples' number remains.

    M. Chong, D. Forsyth, "Effectively Unbiased FID and Inception Score and where to find them", CVPR 2020.
    """

    higher_is_better = False
    real_moments: Tensor

    def __init__(
        self,
        feature: int | str | nn.Module | None = 2048,
        num_points: int = 15,
        min_fake: int = 5000,
        reset_real_features: bool = True,
        normalize: bool = False,
        *,
        seed: int = 0,
        feature_extractor_weights_path: str | None = None,
        antialias: bool = True,
        return_error: bool = False,
        rtol: float | None = None,
        **kwargs: Any,
    ) -> None:
        for argument, given in (("num_points", num_points), ("min_fake", min_fake)):
            if isinstance(given, bool) or not isinstance(given, int) or given < 2:
                raise ValueError(f"FrechetDistanceInfinity: {argument} must be an integer of at least 2, got {given!r}")
        super().__init__(
            MOMENTS,
            FEATURES,
            feature,
            normalize,
            reset_real_features,
            weights=feature_extractor_weights_path,
            antialias=antialias,
            **kwargs,
        )
        self.num_points, self.min_fake, self.seed = num_points, min_fake, seed
        self.return_error, self.rtol = return_error, rtol

    def compute(self) -> Tensor | tuple[Tensor, Tensor]:
        """The extrapolated distance, with its estimated error where it was asked for.

        Raises
        ------
        ValueError
            If there are fewer than two real samples, or not more than ``min_fake`` fake ones.
        torch.linalg.LinAlgError
            If an estimated error exceeds ``rtol``.
        """
        real, fake = self.real_moments, self._stored("fake_features")
        if moments.number(real) < 2:
            given = moments.number(real)
            raise ValueError(f"FrechetDistanceInfinity: real samples must be two at least, got {given}")
        if len(fake) < self.min_fake + self.num_points - 1:
            least = self.min_fake + self.num_points - 1
            raise ValueError(f"FrechetDistanceInfinity: fake samples must be {least} at least, got {len(fake)}")
        reference = FrechetReference.from_moments(moments.mean(real), moments.covariance(real))
        numbers = torch.linspace(self.min_fake, len(fake), self.num_points, dtype=torch.float64).round().long()
        order = shuffled(fake, torch.Generator().manual_seed(self.seed))
        seen, added, results = moments.empty(fake.shape[1], fake.device), 0, []
        for number in numbers.tolist():
            new = order[added:number]
            for rows in tiles(len(new)):
                moments.add(seen, fake[new[rows]])
            added = number
            results.append(reference.distance(moments.mean(seen), moments.covariance(seen), rtol=self.rtol))
        distances, errors = (torch.stack(parts) for parts in zip(*results, strict=True))
        line = torch.stack([torch.ones_like(distances), 1 / numbers.to(distances)], 1)
        weights = torch.linalg.pinv(line)[0]
        extrapolated = weights @ distances
        return (extrapolated, weights.abs() @ errors) if self.return_error else extrapolated
