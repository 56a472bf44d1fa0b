"""A folder of images, decoded as they are drawn."""

from __future__ import annotations

import os
import warnings
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from .base import DataError

__all__ = ["FolderData", "image_files"]

_SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".webp", ".tif", ".tiff", ".ppm", ".pgm"}


class FolderData:
    """Images of a folder; its subfolders, where there are any, are the classes (in alphabetical order).

    Each image is cut to its central square, resized (antialiased) and brought to RGB when it is drawn. One that cannot
    be decoded is named once and the next good one in the folder takes its place, which depends on the folder's content
    alone.

    Parameters
    ----------
    path : Path
        The folder. Files beside class subfolders are refused, for they would have no label.
    strict : bool, default: False
        Stop at the first broken image instead.
    image_size : int, default: 32
        Height and width in pixels.
    """

    image_channels = 3

    def __init__(self, path: Path, *, strict: bool = False, image_size: int = 32) -> None:
        try:
            import PIL  # noqa: F401
        except ImportError as error:
            raise DataError('a folder of images needs Pillow: pip install "fastgan[train]"') from error
        self.name = path.name
        self._root = path
        self.image_size = image_size
        self.strict = strict
        self._broken: set[int] = set()
        loose = image_files(path, recursive=False)
        folders = [d for d in sorted(path.iterdir()) if d.is_dir()]
        classes = [(d, files) for d in folders if (files := image_files(d, recursive=True))]
        if loose and classes:
            raise DataError(
                f"{path}: holds images ({loose[0].name}, ...) beside class subfolders ({classes[0][0].name}, ...); "
                "give a folder with either"
            )
        self._paths = loose or [file for _, files in classes for file in files]
        if not self._paths:
            raise DataError(f"{path}: no images found ({', '.join(sorted(_SUFFIXES))}), here or in subfolders")
        self.num_classes = len(classes) or None
        self._labels = torch.tensor([label for label, (_, files) in enumerate(classes) for _ in files])
        self._pool = ThreadPoolExecutor(max_workers=min(8, os.cpu_count() or 1))

    def __len__(self) -> int:
        return len(self._paths)

    def batch(self, indices: Tensor) -> tuple[Tensor, Tensor | None]:
        """See ``ImageData.batch``."""
        drawn = list(self._pool.map(self._draw, indices.tolist()))
        images = torch.from_numpy(np.stack([image for _, image in drawn])).permute(0, 3, 1, 2)
        labels = self._labels[[index for index, _ in drawn]] if self.num_classes else None
        return images, labels

    def fingerprint(self) -> str:
        """Number of the files, and CRC-32 of their paths in the folder and sizes."""
        checksum = 0
        for path in self._paths:
            checksum = zlib.crc32(
                f"{path.relative_to(self._root).as_posix()} {path.stat().st_size}\n".encode(), checksum
            )
        return f"{len(self._paths)} files {checksum:08x}"

    def report(self) -> str | None:
        """How many images were skipped, where any were."""
        count = len(self._broken)
        return f"{self.name}: {count} broken image{'s' if count > 1 else ''} skipped" if count else None

    def _draw(self, index: int) -> tuple[int, np.ndarray]:
        for candidate in _round(index, len(self._paths)):
            if candidate in self._broken:
                continue
            try:
                return candidate, _decode(self._paths[candidate], self.image_size)
            # Pillow's decoders raise many kinds of errors on damaged files; any of them means this file.
            except Exception as error:
                message = f"{self._paths[candidate]}: broken image ({error})"
                if self.strict:
                    raise DataError(message) from error
                if candidate not in self._broken:
                    self._broken.add(candidate)
                    warnings.warn(f"{message}; skipped", stacklevel=2)
        raise DataError(f"{self.name}: none of the {len(self._paths)} images can be decoded")


def image_files(folder: Path, *, recursive: bool) -> list[Path]:
    """Files of images in ``folder``, by their names' endings, sorted."""
    files = folder.rglob("*") if recursive else folder.iterdir()
    return sorted(file for file in files if file.suffix.lower() in _SUFFIXES and file.is_file())


def _round(start: int, length: int) -> Iterator[int]:
    return ((start + step) % length for step in range(length))


def _decode(path: Path, size: int) -> np.ndarray:
    from PIL import Image, ImageOps

    with Image.open(path) as image:
        # fit cuts the central square and resizes in one pass.
        return np.asarray(ImageOps.fit(image.convert("RGB"), (size, size), Image.Resampling.BICUBIC))
