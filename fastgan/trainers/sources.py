"""What a translating recipe translates when it is looked at: images that training has not seen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from fastgan.data import ImageData, PairedData, hold_out, open_data, open_pairs

from .config import ConfigError, TrainConfig

__all__ = ["Sources", "open_sources"]

_CHUNK = 250


@dataclass(frozen=True)
class Sources:
    """Images of several domains.

    Attributes
    ----------
    images : Tensor
        uint8 [M, C, H, W].
    domains : Tensor
        int64 [M], each image's domain.
    subjects : int or None
        Where the true translations are known, the number of subjects: those of one domain stand together, and those of
        all domains in the same order. None where they are not.
    """

    images: Tensor
    domains: Tensor
    subjects: int | None

    @classmethod
    def of_pairs(cls, pairs: PairedData, labels: Sequence[int]) -> Sources:
        """The domains at ``labels``, numbered in that order."""
        everyone = torch.arange(len(pairs))
        images = [pairs.domain(pairs.domains[label]).batch(everyone)[0] for label in labels]
        return cls(torch.cat(images), torch.arange(len(labels)).repeat_interleave(len(pairs)), len(pairs))

    @classmethod
    def of_held_out(cls, data: ImageData, labels: Sequence[int]) -> Sources:
        """The images with one of ``labels``, which are numbered in that order."""
        parts = [data.batch(chunk) for chunk in torch.arange(len(data)).split(_CHUNK)]
        found = torch.cat([part for _, part in parts if part is not None])
        match = found[:, None] == torch.tensor(labels)
        kept = match.any(1)
        return cls(torch.cat([images for images, _ in parts])[kept], match[kept].int().argmax(1), None)

    def others(self, targets: Tensor, random: torch.Generator) -> Tensor:
        """Draw for each of ``targets`` int64 [N] an image of another domain; its place, int64 [N]."""
        elsewhere = self.domains != targets[:, None]
        return torch.multinomial(elsewhere.float(), 1, generator=random).squeeze(1)

    def truth(self, places: Tensor, targets: Tensor) -> Tensor:
        """What the images at ``places`` look like in the domains ``targets``, uint8 [N, C, H, W]."""
        if self.subjects is None:
            raise ValueError("Sources: truth must be known, but the images are no pairs")
        return self.images[targets * self.subjects + places % self.subjects]


def open_sources(config: TrainConfig, labels: Sequence[int], held_out: ImageData | None = None) -> Sources:
    """Find what a run has not seen: subjects that its data set leaves out in every domain, or ``held_out``.

    Where neither is given, the run's data are opened.

    Raises
    ------
    ConfigError
        If the settings hold out no images, or none of two domains.
    DataError
        If the data cannot be had.
    """
    pairs = open_pairs(config.data, image_size=config.image_size)
    if pairs is not None:
        return Sources.of_pairs(pairs, labels)
    if held_out is None:
        data = open_data(config.data, strict=config.strict, image_size=config.image_size)
        _, held_out = hold_out(data, config.held_out)
    sources = None if held_out is None else Sources.of_held_out(held_out, labels)
    if sources is None or sources.domains.unique().numel() < 2:
        raise ConfigError(
            f"held_out must leave images of two domains or more of {config.data} to look at, got {config.held_out}"
        )
    return sources
