"""Real and generated images of a run, and their features."""

from __future__ import annotations

import functools

import torch
from torch import Tensor, nn

from fastgan import features
from fastgan.data import ImageData
from fastgan.evaluation import cache
from fastgan.trainers.images import to_uint8

from .training import FinishedRun

__all__ = ["extract", "final_images", "generate", "network", "real_features", "real_indices"]

_CHUNK = 250


@functools.cache
def network() -> features.FeatureNetwork:
    """The packaged one, which everything here is measured on."""
    return features.get("efficientnet-lite0")


@torch.no_grad()
def extract(images: Tensor) -> Tensor:
    """Features [N, d] of uint8 images."""
    return torch.cat([network()(chunk) for chunk in images.split(_CHUNK)])


def real_indices(data: ImageData, n: int, after: int = 0) -> Tensor:
    """Which ``n`` images are compared with, ``after`` others; all where there are no more."""
    return torch.randperm(len(data), generator=torch.Generator().manual_seed(0))[after : after + n]


def real_features(data: ImageData, n: int, after: int = 0) -> Tensor:
    """Features of ``real_indices``, kept for the next recipe on the same data."""
    images = {"images": f"{data.name} {data.fingerprint()}", "n": n, "after": after}
    key = {"version": 1, **images, "features": network().title}
    found = cache.load(key)
    if found is None:
        found = extract(data.batch(real_indices(data, n, after))[0])
        cache.save(key, found)
    return found


@torch.no_grad()
def generate(run: FinishedRun, generator: nn.Module, n: int) -> tuple[Tensor, Tensor | None]:
    """``n`` uint8 images, always of the same noise, and their labels, which come as often as in the data."""
    recipe, data = run.trainer.recipe, run.trainer.data
    labels = None
    if recipe.num_classes is not None:
        labels = data.batch(real_indices(data, n))[1]
        assert labels is not None
        labels = labels[torch.arange(n) % len(labels)]
    random = torch.Generator().manual_seed(1)
    parts = []
    for chunk in torch.arange(n).split(_CHUNK):
        parts.append(recipe.sample(generator, len(chunk), None if labels is None else labels[chunk], random))
    return torch.cat([to_uint8(part) for part in parts]), labels


@functools.lru_cache(maxsize=1)
def final_images(run: FinishedRun, n: int) -> tuple[Tensor, Tensor | None]:
    """``generate`` at the last step."""
    return generate(run, run.trained(), n)
