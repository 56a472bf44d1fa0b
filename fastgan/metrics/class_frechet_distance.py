"""Fréchet distances class by class: intra-FID, on any features."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from fastgan import functional
from fastgan.ops import checks

from .base import FEATURES, LABELS, PairMetric

__all__ = ["ClassFrechetDistance"]


class ClassFrechetDistance(PairMetric):
    r"""Fréchet distance between the real and the fake images of each class; all classes at once.

    Parameters
    ----------
    feature : int, str, nn.Module or None, default: 2048
        Inception's layer, a name that ``fastgan.features.get`` knows, a network of one's own, or None where ``update``
        takes features [N, d]. Inception's weights must be here: no other network is put in its place.
    reduction : str, default: "mean"
        ``"mean"``: ``compute`` returns the mean over the classes, intra-FID. ``"none"``: the classes [C], in ascending
        order, and their distances [C].
    reset_real_features : bool, default: True
        Whether ``reset`` also forgets the real images.
    normalize : bool, default: False
        Whether images are in [0, 1] and are rounded down to 256 steps.
    feature_extractor_weights_path : str, optional
        A file with Inception's weights.
    antialias : bool, default: True
        How images are brought to Inception's size, as in torchmetrics.
    return_error : bool, default: False
        Whether ``compute`` also returns the estimated absolute error: of the mean, or of each class.
    rtol : float, optional
        Error wanted of each class, as in ``FrechetDistance``.
    kwargs : Any
        Of ``torchmetrics.Metric``.

    Notes
    -----
    Features and labels are kept: a class has fewer samples than features, mostly, so they are less than its moments.
    Distances of few samples are far too large: compare equal numbers a class only.

    T. Miyato, M. Koyama, "cGANs with Projection Discriminator", ICLR 2018.
    """

    higher_is_better = False

    def __init__(
        self,
        feature: int | str | nn.Module | None = 2048,
        reduction: str = "mean",
        reset_real_features: bool = True,
        normalize: bool = False,
        *,
        feature_extractor_weights_path: str | None = None,
        antialias: bool = True,
        return_error: bool = False,
        rtol: float | None = None,
        **kwargs: Any,
    ) -> None:
        checks.check_choice("ClassFrechetDistance", "reduction", reduction, ("mean", "none"))
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
        self.reduction, self.return_error, self.rtol = reduction, return_error, rtol
        for side in ("real", "fake"):
            self._add_store(f"{side}_labels", LABELS)

    def update(self, imgs: Tensor, labels: Tensor, real: bool) -> None:  # type: ignore[override]
        """Take a batch.

        Parameters
        ----------
        imgs : Tensor
            Images as the network takes them, or features [N, d] where ``feature`` is None.
        labels : Tensor
            Integers [N], the class of each.
        real : bool
            Whether they are real.

        Raises
        ------
        TypeError
            For images that are no tensor, features that are not floating point, labels that are not integers, or
            ``real`` that is no bool.
        ValueError
            For features of another shape or number than before, or that are not finite, or labels of another number.
        """
        if not isinstance(labels, Tensor) or labels.is_floating_point() or labels.is_complex():
            given = labels.dtype if isinstance(labels, Tensor) else type(labels).__name__
            raise TypeError(f"ClassFrechetDistance: labels must be a Tensor of integers, got {given}")
        if isinstance(imgs, Tensor) and labels.shape != imgs.shape[:1]:
            raise ValueError(
                f"ClassFrechetDistance: labels must be [{len(imgs)}] to match imgs {list(imgs.shape)}, "
                f"got {list(labels.shape)}"
            )
        super().update(imgs, real)
        self._take(f"{'real' if real else 'fake'}_labels", labels.detach().to(self.device, torch.long, copy=True))

    def compute(self) -> Tensor | tuple[Tensor, ...]:
        """What ``reduction`` says, with the estimated errors where they were asked for.

        Raises
        ------
        ValueError
            If a class has samples on one side only, or fewer than two on one.
        torch.linalg.LinAlgError
            If an estimated error exceeds ``rtol``.
        """
        names = ("real_features", "real_labels", "fake_features", "fake_labels")
        x, x_labels, y, y_labels = (self._stored(name) for name in names)
        real, fake = set(x_labels.tolist()), set(y_labels.tolist())
        if real != fake:
            side, lacking = ("fake", real - fake) if real - fake else ("real", fake - real)
            some = ", ".join(map(str, sorted(lacking)[:10])) + (", ..." if len(lacking) > 10 else "")
            raise ValueError(f"ClassFrechetDistance: classes must have samples on both sides; no {side} ones of {some}")
        dtype = torch.promote_types(x.dtype, y.dtype)
        classes, distances, errors = functional.frechet_distance_by_class(
            x.to(dtype), x_labels, y.to(dtype), y_labels, return_error=True, rtol=self.rtol
        )
        result = (distances.mean(),) if self.reduction == "mean" else (classes, distances)
        if self.return_error:
            return *result, errors.mean() if self.reduction == "mean" else errors
        return result[0] if len(result) == 1 else result
