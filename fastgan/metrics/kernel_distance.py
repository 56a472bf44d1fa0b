"""The kernel Inception distance, on any features."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from fastgan.functional.kernels import polynomial_mmd

from .base import FEATURES, PairMetric
from .order import shuffled

__all__ = ["KernelDistance"]


class KernelDistance(PairMetric):
    r"""Squared maximum mean discrepancy with a polynomial kernel: mean and deviation over random subsets.

    Takes the place of ``torchmetrics.image.kid.KernelInceptionDistance``.

    Parameters
    ----------
    feature : int, str, nn.Module or None, default: 2048
        Inception's layer, a name that ``fastgan.features.get`` knows, a network of one's own, or None where ``update``
        takes features [N, d]. Inception's weights must be here: no other network is put in its place.
    subsets, subset_size : int, default: 100, 1000
        Random subsets, and samples of each side in one.
    degree, gamma, coef
        Of the kernel ``(gamma x·y + coef)^degree``; gamma's default is 1 / d.
    reset_real_features : bool, default: True
        Whether ``reset`` also forgets the real images.
    normalize : bool, default: False
        Whether images are in [0, 1] and are rounded down to 256 steps, as in torchmetrics.
    seed : int, default: 0
        Of the subsets, which depend on it and on the features, not on their order.
    feature_extractor_weights_path : str, optional
        A file with Inception's weights.
    antialias : bool, default: True
        How images are brought to Inception's size, as in torchmetrics.
    kwargs : Any
        Of ``torchmetrics.Metric``.

    Notes
    -----
    ``compute`` returns the mean and the standard deviation (of the subsets, divided by their number), two float64
    scalars. Each subset's estimate is unbiased, so the mean may be below zero, and does not depend on the number of
    samples. Features are kept, in float32 or float64 as they came; sums are in float64.

    M. Bińkowski et al., "Demystifying MMD GANs", ICLR 2018.
    """

    higher_is_better = False

    def __init__(
        self,
        feature: int | str | nn.Module | None = 2048,
        subsets: int = 100,
        subset_size: int = 1000,
        degree: int = 3,
        gamma: float | None = None,
        coef: float = 1.0,
        reset_real_features: bool = True,
        normalize: bool = False,
        *,
        seed: int = 0,
        feature_extractor_weights_path: str | None = None,
        antialias: bool = True,
        **kwargs: Any,
    ) -> None:
        for argument, given, least in (("subsets", subsets, 1), ("subset_size", subset_size, 2), ("degree", degree, 1)):
            if isinstance(given, bool) or not isinstance(given, int) or given < least:
                raise ValueError(f"KernelDistance: {argument} must be an integer of at least {least}, got {given!r}")
        super().__init__(
            FEATURES,
            FEATURES,
            feature,
            normalize,
            reset_real_features,
            weights=feature_extractor_weights_path,
            antialias=antialias,
            **kwargs,
        )
        self.subsets, self.subset_size = subsets, subset_size
        self.degree, self.gamma, self.coef, self.seed = degree, gamma, coef, seed

    def compute(self) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation over the subsets.

        Raises
        ------
        ValueError
            If a side has fewer samples than a subset.
        """
        real, fake = self._stored("real_features"), self._stored("fake_features")
        for name, x in (("real", real), ("fake", fake)):
            if len(x) < self.subset_size:
                raise ValueError(
                    f"KernelDistance: subset_size must be at most the number of {name} samples, {len(x)}, "
                    f"got {self.subset_size}"
                )
        generator = torch.Generator().manual_seed(self.seed)
        real, fake = (x[shuffled(x, generator)] for x in (real, fake))

        def subset(x: Tensor) -> Tensor:
            return x[torch.randperm(len(x), generator=generator)[: self.subset_size].to(x.device)]

        estimates = torch.stack([
            polynomial_mmd(subset(real), subset(fake), self.degree, self.gamma, self.coef) for _ in range(self.subsets)
        ])  # fmt: skip
        return estimates.mean(), estimates.std(correction=0)
