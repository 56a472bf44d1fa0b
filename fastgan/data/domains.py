"""Two domains of a data set in equal parts."""

from __future__ import annotations

import torch
from torch import Tensor

from .base import DataError, ImageData

__all__ = ["AlternatingDomains"]


class AlternatingDomains:
    """Images of two labels in turn: those in even places of a batch have the first, those in odd places the second.

    They are labelled 0 and 1 here.

    Nothing pairs the images: which ones stand beside each other depends on the order of the indices alone.

    Parameters
    ----------
    data : ImageData
        With labels.
    first, second : int
        The labels of the two domains.

    Raises
    ------
    DataError
        If the data have no labels, or a domain has no image.
    """

    def __init__(self, data: ImageData, first: int, second: int) -> None:
        labels = data.labels()
        if labels is None:
            raise DataError(f"{data.name}: has no labels to tell domains by")
        self._domains = [(labels == label).nonzero().flatten() for label in (first, second)]
        for label, indices in zip((first, second), self._domains, strict=True):
            if not len(indices):
                raise DataError(f"{data.name}: no image has label {label}")
        self.name = data.name
        self.image_size = data.image_size
        self.image_channels = data.image_channels
        self.num_classes: int | None = 2
        self._data = data

    def __len__(self) -> int:
        """Images of the larger domain; those of the other come round more often."""
        return max(map(len, self._domains))

    def batch(self, indices: Tensor) -> tuple[Tensor, Tensor | None]:
        """See ``ImageData.batch``."""
        first, second = (domain[indices % len(domain)] for domain in self._domains)
        labels = torch.arange(len(indices)) % 2
        return self._data.batch(torch.where(labels == 0, first, second))[0], labels

    def labels(self) -> Tensor | None:
        """Labels of a batch of all images."""
        return torch.arange(len(self)) % 2

    def fingerprint(self) -> str:
        """The whole's."""
        return self._data.fingerprint()

    def report(self) -> str | None:
        """The whole's."""
        return self._data.report()
