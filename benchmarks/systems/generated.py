"""Real and generated images of a run, and their features."""

from __future__ import annotations

import functools

import torch
from torch import Tensor, nn

from fastgan import features
from fastgan.data import ImageData
from fastgan.evaluation import cache
from fastgan.trainers.evaluate import generated, real_indices
from fastgan.trainers.images import to_uint8

from .training import FinishedRun

__all__ = ["extract", "final_images", "generate", "network", "real_features"]

_CHUNK = 250


@functools.cache
def network() -> features.FeatureNetwork:
    """The packaged one, which everything here is measured on."""
    return features.get("efficientnet-lite0")


@torch.no_grad()
def extract(images: Tensor) -> Tensor:
    """Features [N, d] of uint8 images."""
    return torch.cat([network()(chunk) for chunk in images.split(_CHUNK)])


def real_features(data: ImageData, n: int, after: int = 0) -> Tensor:
    """Features of ``real_indices``, kept for the next recipe on the same data."""
    images = {"images": f"{data.name} {data.fingerprint()}", "n": n, "after": after}
    key = {"version": 1, **images, "features": network().title}
    found = cache.load(key)
    if found is None:
        found = extract(data.batch(real_indices(data, n, after))[0])
        cache.save(key, found)
    return found


def generate(run: FinishedRun, generator: nn.Module, n: int) -> tuple[Tensor, Tensor | None]:
    """``n`` uint8 images and their labels, as ``fastgan.trainers.evaluate.generated`` makes them."""
    parts = [
        (to_uint8(images), labels) for images, labels in generated(run.trainer.recipe, generator, run.trainer.data, n)
    ]
    labels = [some for _, some in parts if some is not None]
    return torch.cat([images for images, _ in parts]), torch.cat(labels) if labels else None


@functools.lru_cache(maxsize=1)
def final_images(run: FinishedRun, n: int) -> tuple[Tensor, Tensor | None]:
    """``generate`` at the last step."""
    return generate(run, run.trained(), n)
