"""Finding a feature network by its name."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from .base import FeatureNetwork

__all__ = ["available", "get"]


def available() -> list[str]:
    """What ``get`` takes as a name, as a user reads it."""
    return [
        "efficientnet-lite0",
        "inception-v3",
        "inception-v3-64 (-192, -768, -logits, -logits_unbiased)",
        "timm:MODEL",
    ]


def get(feature: str | int | nn.Module, weights: str | Path | None = None, *, resize: str = "clean") -> FeatureNetwork:
    """Find or wrap a feature network.

    Parameters
    ----------
    feature : str, int or nn.Module
        ``"efficientnet-lite0"``: its weights come with a package, so it works offline. ``"inception-v3"``: the network
        of the Fréchet Inception distance, 2048 features; ``"inception-v3-64"``, ``-192`` and ``-768`` are its earlier
        features, ``-logits`` and ``-logits_unbiased`` its last layer with and without the bias. As in torchmetrics, 64,
        192, 768, 2048 and ``"logits_unbiased"`` mean the same.
        ``"timm:MODEL"``: any pretrained model of the package timm. A module is called with the images as they come and
        must return [N, d]; it is put in evaluation mode.
    weights : str or Path, optional
        A file to load instead of the weights that the name stands for; for Inception and timm.
    resize : str, default: "clean"
        How Inception's images are brought to 299 × 299: see ``fastgan.features.resize.resize``.

    Returns
    -------
    FeatureNetwork
        With ``dim``, the number of features, and ``title``, which says what they are.

    Raises
    ------
    ValueError
        For an unknown name (the message lists what exists).
    FileNotFoundError
        If Inception's weights are not here (the message says how to get them).
    ImportError
        If a package that the network needs is missing.
    """
    if isinstance(feature, nn.Module):
        _refuse_weights(weights, "a module")
        return feature if isinstance(feature, FeatureNetwork) else _Wrapped(feature)
    if feature == "efficientnet-lite0":
        from .efficientnet import EfficientNetLite0

        _refuse_weights(weights, feature)
        return EfficientNetLite0()
    kind, _, detail = str(feature).partition(":")
    if kind == "timm" and detail:
        from .timm_models import TimmModel

        return TimmModel(detail, weights)
    output = "2048" if feature == "inception-v3" else str(feature).removeprefix("inception-v3-")
    if output in ("64", "192", "768", "2048", "logits", "logits_unbiased"):
        from .inception import InceptionV3

        return InceptionV3(weights, output, resize)
    raise ValueError(f"unknown features {feature!r}; there are: {'; '.join(available())}, or an nn.Module")


def _refuse_weights(weights: str | Path | None, feature: str) -> None:
    if weights is not None:
        raise ValueError(f"features.get: {feature} has its own weights, weights must be None, got {str(weights)!r}")


class _Wrapped(FeatureNetwork):
    """A module of the user's; what it does not say of itself is found out with one image."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module.eval()
        self.title = getattr(module, "title", type(module).__name__)
        self.dim = getattr(module, "dim", None) or self._measure()

    def _measure(self) -> int:
        parameter = next(self.module.parameters(), None)
        device = None if parameter is None else parameter.device
        try:
            with torch.no_grad():
                return self(torch.zeros(1, 3, 299, 299, dtype=torch.uint8, device=device)).shape[1]
        except Exception as error:
            raise ValueError(
                f"features.get: {self.title} does not take a uint8 image [1, 3, 299, 299] ({error}); give it an "
                "attribute dim, its number of features"
            ) from error

    def forward(self, images: Tensor) -> Tensor:
        features = self.module(images)
        if features.ndim != 2 or len(features) != len(images):
            raise ValueError(
                f"{self.title}: features must be [{len(images)}, d] for {len(images)} images, "
                f"got {tuple(features.shape)}"
            )
        return features
