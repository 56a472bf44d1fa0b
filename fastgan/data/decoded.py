"""Images that are decoded as they are drawn; broken ones are skipped, or stop the run."""

from __future__ import annotations

import os
import warnings
from abc import ABC, abstractmethod
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from .base import DataError
from .decode import need_pillow, square

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["PROBES", "DecodedData"]

#: How many images' bytes a fingerprint looks at.
PROBES = 16


class DecodedData(ABC):
    """Images reached one by one; a subclass says how one is opened.

    Each image is composited on white, cut to its central square and resized (antialiased) when it is drawn. One that
    cannot be decoded is named once and the next good one takes its place, which depends on the content alone.

    Parameters
    ----------
    name : str
        Shown in logs and errors.
    length : int
        Number of images.
    labels : Tensor, optional
        int64, [N].
    num_classes : int, optional
    strict : bool
        Stop at the first broken image instead.
    image_size : int
        Height and width in pixels.
    image_channels : int, default: 3
        3 for RGB, 1 for grey.
    """

    def __init__(
        self,
        name: str,
        length: int,
        labels: Tensor | None,
        num_classes: int | None,
        *,
        strict: bool,
        image_size: int,
        image_channels: int = 3,
    ) -> None:
        need_pillow(name)
        self.name = name
        self.num_classes = num_classes
        self.image_size = image_size
        self.image_channels = image_channels
        self.strict = strict
        self._length = length
        self._labels = labels
        self._broken: set[int] = set()
        self._pool = ThreadPoolExecutor(max_workers=min(8, os.cpu_count() or 1))

    @abstractmethod
    def _open(self, index: int) -> AbstractContextManager[Image]:
        """The image at an index."""

    @abstractmethod
    def _where(self, index: int) -> str:
        """What an error calls the image."""

    @abstractmethod
    def fingerprint(self) -> str:
        """See ``ImageData.fingerprint``."""

    def __len__(self) -> int:
        return self._length

    def batch(self, indices: Tensor) -> tuple[Tensor, Tensor | None]:
        """See ``ImageData.batch``."""
        drawn = list(self._pool.map(self._draw, indices.tolist()))
        images = torch.from_numpy(np.stack([image for _, image in drawn])).permute(0, 3, 1, 2)
        return images, None if self._labels is None else self._labels[[index for index, _ in drawn]]

    def labels(self) -> Tensor | None:
        """See ``ImageData.labels``."""
        return self._labels

    def report(self) -> str | None:
        """How many images were skipped, where any were."""
        count = len(self._broken)
        return f"{self.name}: {count} broken image{'s' if count > 1 else ''} skipped" if count else None

    def _draw(self, index: int) -> tuple[int, np.ndarray]:
        for candidate in _round(index, self._length):
            if candidate in self._broken:
                continue
            try:
                with self._open(candidate) as image:
                    return candidate, square(image, self.image_size, self.image_channels)
            # Pillow's decoders raise many kinds of errors on damaged files; any of them means this file.
            except Exception as error:
                message = f"{self._where(candidate)}: broken image ({error})"
                if self.strict:
                    raise DataError(message) from error
                if candidate not in self._broken:
                    self._broken.add(candidate)
                    warnings.warn(f"{message}; skipped", stacklevel=2)
        raise DataError(f"{self.name}: none of the {self._length} images can be decoded")


def _round(start: int, length: int) -> Iterator[int]:
    return ((start + step) % length for step in range(length))
