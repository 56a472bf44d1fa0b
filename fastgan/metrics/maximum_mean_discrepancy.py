"""CMMD: the maximum mean discrepancy with a Gaussian kernel."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from fastgan import functional

from .base import FEATURES, PairMetric

__all__ = ["MaximumMeanDiscrepancy"]


class MaximumMeanDiscrepancy(PairMetric):
    r"""Squared maximum mean discrepancy with a Gaussian kernel, times ``scale``.

    Parameters
    ----------
    feature : str, int, nn.Module or None, default: None
        A name that ``fastgan.features.get`` knows, a network of one's own, or None where ``update`` takes features
        [N, d]. The published CMMD is on CLIP's embeddings of length 1, for which sigma is meant.
    sigma : float, default: 10.0
        Width of the kernel, in the features' units.
    scale : float, default: 1000.0
        What the published code multiplies by.
    reset_real_features : bool, default: True
        Whether ``reset`` also forgets the real images.
    normalize : bool, default: False
        Whether images are in [0, 1] and are rounded down to 256 steps.
    feature_extractor_weights_path : str, optional
        A file with Inception's weights.
    antialias : bool, default: True
        How images are brought to Inception's size, as in torchmetrics.
    kwargs : Any
        Of ``torchmetrics.Metric``.

    Notes
    -----
    ``compute`` returns a float64 scalar; see ``fastgan.functional.gaussian_mmd``. No distribution is assumed, unlike by
    the Fréchet distance. Features are kept; the kernel's matrix is in memory a tile at a time.

    S. Jayasumana et al., "Rethinking FID: Towards a Better Evaluation Metric for Image Generation", CVPR 2024.
    """

    higher_is_better = False

    def __init__(
        self,
        feature: str | int | nn.Module | None = None,
        sigma: float = 10.0,
        scale: float = 1000.0,
        reset_real_features: bool = True,
        normalize: bool = False,
        *,
        feature_extractor_weights_path: str | None = None,
        antialias: bool = True,
        **kwargs: Any,
    ) -> None:
        if not sigma > 0:
            raise ValueError(f"MaximumMeanDiscrepancy: sigma must be positive, got {sigma}")
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
        self.sigma, self.scale = sigma, scale

    def compute(self) -> Tensor:
        """The scaled discrepancy."""
        real, fake = self._stored("real_features"), self._stored("fake_features")
        return self.scale * functional.gaussian_mmd(real, fake, self.sigma)
