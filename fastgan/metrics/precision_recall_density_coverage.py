"""Precision, recall, density and coverage of generated images."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from fastgan import functional

from .base import FEATURES, PairMetric

__all__ = ["PrecisionRecallDensityCoverage"]


class PrecisionRecallDensityCoverage(PairMetric):
    r"""Whether fake images lie where real ones are (precision, density), and real where fake are (recall, coverage).

    Parameters
    ----------
    feature : int, str, nn.Module or None, default: 2048
        Inception's layer, a name that ``fastgan.features.get`` knows, a network of one's own, or None where ``update``
        takes features [N, d]. Inception's weights must be here: no other network is put in its place.
    nearest_k : int, default: 5
        Neighbours that decide how far a sample reaches; 3 in Kynkäänniemi et al., 5 in Naeem et al.
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
    ``compute`` returns a dict of float64 scalars, ``precision``, ``recall``, ``density`` and ``coverage``; see
    ``fastgan.functional.precision_recall_density_coverage``. Features are kept; distances are in memory a tile at a
    time. All four change with the number of samples: compare equal numbers only.
    """

    higher_is_better = True

    def __init__(
        self,
        feature: int | str | nn.Module | None = 2048,
        nearest_k: int = 5,
        reset_real_features: bool = True,
        normalize: bool = False,
        *,
        feature_extractor_weights_path: str | None = None,
        antialias: bool = True,
        **kwargs: Any,
    ) -> None:
        if isinstance(nearest_k, bool) or not isinstance(nearest_k, int) or nearest_k < 1:
            raise ValueError(
                f"PrecisionRecallDensityCoverage: nearest_k must be an integer of at least 1, got {nearest_k!r}"
            )
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
        self.nearest_k = nearest_k

    def compute(self) -> dict[str, Tensor]:
        """The four shares, by name.

        Raises
        ------
        ValueError
            If a side has no more than ``nearest_k`` samples.
        """
        real, fake = self._stored("real_features"), self._stored("fake_features")
        return functional.precision_recall_density_coverage(real, fake, self.nearest_k)._asdict()
