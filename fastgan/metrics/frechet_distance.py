"""The Fréchet distance of two sets of images: the Fréchet Inception distance, on any features."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from fastgan import functional

from . import moments
from .base import MOMENTS, PairMetric
from .reference import FrechetReference

__all__ = ["FrechetDistance"]


class FrechetDistance(PairMetric):
    r"""Fréchet distance between Gaussians fitted to the features of real and of fake images.

    Takes the place of ``torchmetrics.image.fid.FrechetInceptionDistance``.

    Parameters
    ----------
    feature : int, str, nn.Module or None, default: 2048
        Inception's layer (64, 192, 768 or 2048), a name that ``fastgan.features.get`` knows, a network of one's own
        that makes [N, d] of images, or None where ``update`` takes features. Inception's weights must be here: no other
        network is put in its place.
    reset_real_features : bool, default: True
        Whether ``reset`` also forgets the real images.
    normalize : bool, default: False
        Whether images are in [0, 1] and are rounded down to 256 steps, as in torchmetrics; a network of one's own is
        given images as they come.
    input_img_size : tuple of int
        Not needed: the number of features is read off the first batch.
    feature_extractor_weights_path : str, optional
        A file with Inception's weights.
    antialias : bool, default: True
        How images are brought to Inception's size, as in torchmetrics. False is what published distances mostly mean.
    return_error : bool, default: False
        Whether ``compute`` also returns the estimated absolute error of the computation.
    rtol : float, optional
        Error wanted, relative to (tr Σ₁ tr Σ₂)^½; ``compute`` raises where it is not reached.
    reference : FrechetReference, optional
        The real side, known already: no real images are then taken.
    kwargs : Any
        Of ``torchmetrics.Metric``.

    Notes
    -----
    ``compute`` returns a float64 scalar. Only mean and scatter of each side are kept, in float64, and merged without
    subtracting sums of squares: features far from zero lose no digits. The distance is biased upwards by a finite
    number of samples: compare equal numbers only, or use ``FrechetDistanceInfinity``.

    M. Heusel et al., "GANs Trained by a Two Time-Scale Update Rule Converge to a Local Nash Equilibrium", NeurIPS 2017.
    """

    higher_is_better = False

    def __init__(
        self,
        feature: int | str | nn.Module | None = 2048,
        reset_real_features: bool = True,
        normalize: bool = False,
        input_img_size: tuple[int, int, int] = (3, 299, 299),
        feature_extractor_weights_path: str | None = None,
        antialias: bool = True,
        *,
        return_error: bool = False,
        rtol: float | None = None,
        reference: FrechetReference | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            MOMENTS,
            MOMENTS,
            feature,
            normalize,
            reset_real_features,
            weights=feature_extractor_weights_path,
            antialias=antialias,
            **kwargs,
        )
        self.return_error, self.rtol, self.reference = return_error, rtol, reference
        #: Estimated absolute error of the last distance, which repr shows.
        self.error: float | None = None

    def __repr__(self) -> str:
        """Name of the metric, of the features, and the error of the last distance."""
        error = "" if self.error is None else f", estimated error {self.error:.1e}"
        return f"{self._name}({self.title}{error})"

    def update(self, imgs: Tensor, real: bool) -> None:
        """Take a batch, as ``PairMetric.update``; ValueError for real images where there is a reference."""
        if real is True and self.reference is not None:
            raise ValueError("FrechetDistance: real must be False where there is a reference, got True")
        super().update(imgs, real)

    def _gaussian(self, side: str) -> tuple[Tensor, Tensor]:
        seen = getattr(self, f"{side}_moments")
        given = moments.number(seen)
        if given < 2:
            raise ValueError(f"FrechetDistance: {side} samples must be two at least, got {given}")
        return moments.mean(seen), moments.covariance(seen)

    def compute(self) -> Tensor | tuple[Tensor, Tensor]:
        """The distance, with its estimated error where it was asked for.

        Raises
        ------
        ValueError
            If a side has fewer than two samples, or the reference features of another number.
        torch.linalg.LinAlgError
            If the estimated error exceeds ``rtol``.
        """
        fake = self._gaussian("fake")
        if self.reference is not None:
            distance, error = self.reference.distance(*fake, rtol=self.rtol)
        else:
            real = self._gaussian("real")
            distance, error = functional.frechet_distance(*real, *fake, return_error=True, rtol=self.rtol)
        self.error = float(error)
        return (distance, error) if self.return_error else distance
