"""Images kept from training."""

from __future__ import annotations

import torch
from torch import Tensor

from .base import DataError, ImageData

__all__ = ["Subset", "hold_out"]


class Subset:
    """Some images of a data set.

    Parameters
    ----------
    data : ImageData
        The whole.
    indices : Tensor
        int64, which images, in order.
    """

    def __init__(self, data: ImageData, indices: Tensor) -> None:
        self.name = data.name
        self.image_size = data.image_size
        self.image_channels = data.image_channels
        self.num_classes = data.num_classes
        self._data, self._indices = data, indices

    def __len__(self) -> int:
        return len(self._indices)

    def batch(self, indices: Tensor) -> tuple[Tensor, Tensor | None]:
        """See ``ImageData.batch``."""
        return self._data.batch(self._indices[indices])

    def labels(self) -> Tensor | None:
        """See ``ImageData.labels``."""
        labels = self._data.labels()
        return None if labels is None else labels[self._indices]

    def fingerprint(self) -> str:
        """The whole's, and how many images these are."""
        return f"{len(self)} of {self._data.fingerprint()}"

    def report(self) -> str | None:
        """The whole's."""
        return self._data.report()


def hold_out(data: ImageData, n: int) -> tuple[ImageData, ImageData | None]:
    """Split ``data`` into images to train on and ``n`` others, drawn once and for all; the second is None for none.

    Raises
    ------
    DataError
        If no image is left to train on.
    """
    if n == 0:
        return data, None
    if n >= len(data):
        raise DataError(f"{data.name}: held_out must leave images to train on, got {n} of {len(data)}")
    order = torch.randperm(len(data), generator=torch.Generator().manual_seed(0))
    return Subset(data, order[n:]), Subset(data, order[:n])
