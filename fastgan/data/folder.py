"""A folder of images."""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from .base import DataError
from .decode import need_pillow
from .decoded import PROBES, DecodedData

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["FolderData", "image_files"]

_SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".webp", ".tif", ".tiff", ".ppm", ".pgm"}


class FolderData(DecodedData):
    """Images of a folder, in RGB; its subfolders, where there are any, are the classes (in alphabetical order).

    Parameters
    ----------
    path : Path
        The folder. Files beside class subfolders are refused, for they would have no label.
    strict : bool, default: False
        Stop at the first broken image instead of skipping it.
    image_size : int, default: 32
        Height and width in pixels.
    """

    def __init__(self, path: Path, *, strict: bool = False, image_size: int = 32) -> None:
        need_pillow("a folder of images")
        self._root = path
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
        labels = torch.tensor([label for label, (_, files) in enumerate(classes) for _ in files]) if classes else None
        super().__init__(
            path.name, len(self._paths), labels, len(classes) or None, strict=strict, image_size=image_size
        )

    def fingerprint(self) -> str:
        """Number of the files, CRC-32 of their paths in the folder and sizes, and of some files' bytes."""
        checksum = 0
        for path in self._paths:
            checksum = zlib.crc32(
                f"{path.relative_to(self._root).as_posix()} {path.stat().st_size}\n".encode(), checksum
            )
        for path in self._paths[:: max(1, len(self._paths) // PROBES)]:
            checksum = zlib.crc32(path.read_bytes(), checksum)
        return f"{len(self._paths)} files {checksum:08x}"

    def _open(self, index: int) -> Image:
        from PIL import Image

        return Image.open(self._paths[index])

    def _where(self, index: int) -> str:
        return str(self._paths[index])


def image_files(folder: Path, *, recursive: bool) -> list[Path]:
    """Files of images in ``folder``, by their names' endings, sorted."""
    files = folder.rglob("*") if recursive else folder.iterdir()
    return sorted(file for file in files if file.suffix.lower() in _SUFFIXES and file.is_file())
