"""What a data set owes to the training loop, and the in-memory one that most data sets are."""

from __future__ import annotations

import zlib
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = ["ArrayData", "DataError", "ImageData", "fit"]


class DataError(ValueError):
    """A data set that cannot be had or read; the message says what to do."""


class ImageData(Protocol):
    """Images of one size, with or without labels, reached by index.

    ``batch`` must depend on nothing but the indices: a resumed run repeats it bit for bit.
    """

    name: str
    image_size: int
    image_channels: int
    num_classes: int | None

    def __len__(self) -> int:
        """Number of images."""
        ...

    def batch(self, indices: Tensor) -> tuple[Tensor, Tensor | None]:
        """Images (uint8 [N, C, H, W]) and labels (int64 [N], or None) at ``indices`` (int64 [N]), on the CPU."""
        ...

    def labels(self) -> Tensor | None:
        """Labels of all images, int64 [len(self)], or None."""
        ...

    def fingerprint(self) -> str:
        """A short text that changes when the images or labels do, as far as can be told cheaply."""
        ...

    def report(self) -> str | None:
        """What the user should hear at the end of a run (images skipped), or None."""
        ...


def fit(images: Tensor, size: int) -> Tensor:
    """Bring the central squares of uint8 images [N, C, H, W] to ``size`` × ``size`` pixels.

    Squares up to four pixels short are padded with zeros (28×28 digits and garments keep their pixels), others are
    resized bilinearly with antialiasing.
    """
    height, width = images.shape[-2:]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    images = images[..., top : top + side, left : left + side]
    missing = size - side
    if 0 <= missing <= 4:
        before = missing // 2
        return F.pad(images, (before, missing - before, before, missing - before))
    return F.interpolate(images, size=(size, size), mode="bilinear", antialias=True)


class ArrayData:
    """Images held in memory as uint8.

    Parameters
    ----------
    name : str
        Shown in logs and errors.
    images : Tensor
        uint8, [N, C, H, W].
    labels : Tensor, optional
        int64, [N], in [0, num_classes).
    image_size : int or None, default: 32
        Height and width the images are brought to (see ``fit``); None leaves them as they are.
    num_classes : int, optional
        Where there may be classes without an image here; by default one more than the largest label.
    """

    def __init__(
        self,
        name: str,
        images: Tensor,
        labels: Tensor | None = None,
        image_size: int | None = 32,
        num_classes: int | None = None,
    ) -> None:
        if images.dtype != torch.uint8 or images.ndim != 4 or len(images) == 0:
            given = f"{images.dtype} {tuple(images.shape)}"
            raise DataError(f"{name}: expected at least one uint8 image as [N, C, H, W], got {given}")
        if labels is not None and labels.shape != (len(images),):
            raise DataError(f"{name}: expected {len(images)} labels, one an image, got shape {tuple(labels.shape)}")
        if labels is not None and int(labels.min()) < 0:
            raise DataError(f"{name}: labels must not be negative, got {int(labels.min())}")
        found = None if labels is None else int(labels.max()) + 1
        if num_classes is not None and (found is None or found > num_classes):
            raise DataError(f"{name}: labels must be below num_classes {num_classes}, got {found and found - 1}")
        self.name = name
        self.image_size = images.shape[-1] if image_size is None else image_size
        self.image_channels = images.shape[1]
        self.num_classes = num_classes or found
        self._images = (images if image_size is None else fit(images, image_size)).contiguous()
        self._labels = None if labels is None else labels.long()

    def __len__(self) -> int:
        return len(self._images)

    def batch(self, indices: Tensor) -> tuple[Tensor, Tensor | None]:
        """See ``ImageData.batch``."""
        return self._images[indices], None if self._labels is None else self._labels[indices]

    def labels(self) -> Tensor | None:
        """See ``ImageData.labels``."""
        return self._labels

    def fingerprint(self) -> str:
        """Shape and CRC-32 of the images and labels."""
        checksum = zlib.crc32(self._images.numpy().data)
        if self._labels is not None:
            checksum = zlib.crc32(self._labels.contiguous().numpy().data, checksum)
        return f"{tuple(self._images.shape)} {checksum:08x}"

    def report(self) -> str | None:
        """Nothing is skipped: the arrays were checked when opened."""
        return None
