"""The Fréchet distance of a run, during training."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from fastgan import features
from fastgan.data import ImageData
from fastgan.functional import frechet_distance_from_features

from .recipe import Recipe

__all__ = ["FrechetEvaluator", "generated", "real_indices"]

_CHUNK = 250


def real_indices(data: ImageData, n: int, after: int = 0) -> Tensor:
    """Which ``n`` images are compared with, always the same, ``after`` others; all where there are no more."""
    return torch.randperm(len(data), generator=torch.Generator().manual_seed(0))[after : after + n]


@torch.no_grad()
def generated(recipe: Recipe, generator: nn.Module, data: ImageData, n: int) -> Iterator[tuple[Tensor, Tensor | None]]:
    """In parts, ``n`` images in [-1, 1], always of the same noise, and their labels, as often as in ``data``."""
    labels = None
    if recipe.num_classes is not None:
        all_labels = data.labels()
        assert all_labels is not None
        real = all_labels[real_indices(data, n)]
        labels = real[torch.arange(n) % len(real)]
    random = torch.Generator().manual_seed(1)
    for chunk in torch.arange(n).split(_CHUNK):
        some = None if labels is None else labels[chunk]
        yield recipe.sample(generator, len(chunk), some, random), some


class FrechetEvaluator:
    """Distance between generated images and real ones, on EfficientNet-Lite0's features.

    The real features are computed once. The same real images, labels and noise are used every time, so that distances
    of one run differ by its generator alone. Training's random numbers are not touched.

    Parameters
    ----------
    recipe : Recipe
        Makes the images.
    data : ImageData
        The real images.
    samples : int
        Images on each side; fewer real ones where the data set is smaller.
    device : torch.device
        Where features are computed.
    network : FeatureNetwork, optional
        What computes them, for evaluators to share; it must be on the device.
    """

    def __init__(
        self,
        recipe: Recipe,
        data: ImageData,
        samples: int,
        device: torch.device,
        network: features.FeatureNetwork | None = None,
    ) -> None:
        self._recipe, self._data, self._samples = recipe, data, samples
        self._features = network or features.get("efficientnet-lite0").to(device)
        indices = real_indices(data, samples)
        self._real = torch.cat([self._extract(data.batch(chunk)[0].to(device)) for chunk in indices.split(_CHUNK)])
        self.title = f"{self._features.title}, {len(indices)} real and {samples} generated images"

    @torch.no_grad()
    def _extract(self, images: Tensor) -> Tensor:
        return self._features(images)

    def __call__(self, generator: nn.Module) -> float:
        """Distance of ``generator`` (in evaluation mode) from the data."""
        parts = generated(self._recipe, generator, self._data, self._samples)
        fake = torch.cat([self._extract(images) for images, _ in parts])
        return frechet_distance_from_features(self._real, fake).item()
