"""The Fréchet distance of a run, during training."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from fastgan import features
from fastgan.data import ImageData
from fastgan.functional import frechet_distance_from_features

from .recipe import Recipe

__all__ = ["FrechetEvaluator"]

_CHUNK = 250


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
        self._recipe = recipe
        self._samples = samples
        self._features = network or features.get("efficientnet-lite0").to(device)
        self._device = device
        random = torch.Generator().manual_seed(0)
        indices = torch.randperm(len(data), generator=random)[:samples]
        real, labels = [], []
        for chunk in indices.split(_CHUNK):
            images, classes = data.batch(chunk)
            real.append(self._extract(images.to(device)))
            labels.append(classes)
        self._real = torch.cat(real)
        self.title = f"{self._features.title}, {len(indices)} real and {samples} generated images"
        # Labels come as often as in the data.
        self._labels: Tensor | None = None
        if recipe.num_classes is not None:
            drawn = torch.cat([classes for classes in labels if classes is not None])
            self._labels = drawn[torch.arange(samples) % len(drawn)]

    @torch.no_grad()
    def _extract(self, images: Tensor) -> Tensor:
        return self._features(images)

    @torch.no_grad()
    def __call__(self, generator: nn.Module) -> float:
        """Distance of ``generator`` (in evaluation mode) from the data."""
        random = torch.Generator().manual_seed(1)
        extracted = []
        for chunk in torch.arange(self._samples).split(_CHUNK):
            labels = None if self._labels is None else self._labels[chunk]
            extracted.append(self._extract(self._recipe.sample(generator, len(chunk), labels, random)))
        return frechet_distance_from_features(self._real, torch.cat(extracted)).item()
