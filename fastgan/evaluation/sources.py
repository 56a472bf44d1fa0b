"""Where images to be measured come from: data sets, folders at their own size, generators of runs."""

from __future__ import annotations

import os
import zlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from fastgan.data import ArrayData, DataError, ImageData, open_data
from fastgan.data.arrays import has_idx, open_npz
from fastgan.data.catalogue import CATALOGUE
from fastgan.data.decode import to_rgb
from fastgan.data.folder import FolderData, image_files
from fastgan.trainers.images import to_uint8
from fastgan.trainers.run import load_run

__all__ = ["ImageSource", "RunSource", "is_run", "open_images"]


class ImageSource(Protocol):
    """Images by index; the same index gives the same image in every process."""

    #: As a user reads it.
    name: str
    #: A text that changes when the images do; None where they are not kept.
    identity: str | None

    def __len__(self) -> int:
        """Number of images."""
        ...

    def images(self, indices: Tensor) -> list[Tensor]:
        """Images at ``indices``, in their order, as batches of equal size: uint8 [n, C, H, W]."""
        ...


def is_run(text: str) -> bool:
    """Whether this is the folder of a run."""
    return Path(text, "config.yaml").is_file()


def open_images(text: str, *, image_size: int | None = None) -> ImageSource:
    """Open a data set by its name, or a folder of images or an ``.npz`` file by its path, for measuring.

    Parameters
    ----------
    text : str
        A data set as ``fastgan train`` takes it.
    image_size : int, optional
        Prepare the images as training does, to squares of so many pixels. By default those of a folder or file keep
        their size, and those in subfolders are taken with no regard to classes; other data sets are opened at 32.

    Raises
    ------
    DataError
        If there is no such data set, or it is the folder of a run.
    """
    path = Path(text).expanduser()
    if is_run(text):
        raise DataError(f"{path}: the folder of a run; only --fake takes one")
    if image_size is None and text not in CATALOGUE:
        if path.is_dir() and not has_idx(path):
            return FolderSource(path)
        if path.is_file() and path.suffix == ".npz":
            return DataSource(open_npz(path, image_size=None))
    data = open_data(text, strict=True, image_size=image_size or 32)
    if isinstance(data, FolderData):
        return DataSource(data, f"{_identity(path, image_files(path, recursive=True))}, squares of {data.image_size}")
    return DataSource(data)


def _identity(root: Path, files: Sequence[Path]) -> str:
    """Number of the files, and CRC-32 of their paths in the folder, sizes and times of change."""
    checksum = 0
    for file in files:
        status = file.stat()
        line = f"{file.relative_to(root).as_posix()} {status.st_size} {status.st_mtime_ns}\n"
        checksum = zlib.crc32(line.encode(errors="surrogateescape"), checksum)
    return f"{len(files)} files {checksum:08x}"


class DataSource:
    """Images of a data set, as training sees them."""

    def __init__(self, data: ImageData, identity: str | None = None) -> None:
        self.name = data.name
        # The fingerprints of data sets that are not in memory do not cover every image.
        self.identity = data.fingerprint() if isinstance(data, ArrayData) else identity
        self._data = data

    def __len__(self) -> int:
        return len(self._data)

    def images(self, indices: Tensor) -> list[Tensor]:
        """See ``ImageSource.images``."""
        return [self._data.batch(indices)[0]]


class FolderSource:
    """Image files of a folder and its subfolders, at their own sizes."""

    def __init__(self, path: Path) -> None:
        self.name = str(path)
        self._files = image_files(path, recursive=True)
        if not self._files:
            raise DataError(f"{path}: no images found, here or in subfolders")
        self.identity: str | None = _identity(path, self._files)
        self._pool = ThreadPoolExecutor(max_workers=min(8, os.cpu_count() or 1))

    def __len__(self) -> int:
        return len(self._files)

    def images(self, indices: Tensor) -> list[Tensor]:
        """See ``ImageSource.images``; DataError names a file that cannot be decoded."""
        batches: list[list[Tensor]] = []
        for image in self._pool.map(self._decode, indices.tolist()):
            if not batches or batches[-1][0].shape != image.shape:
                batches.append([])
            batches[-1].append(image)
        return [torch.stack(batch) for batch in batches]

    def _decode(self, index: int) -> Tensor:
        from PIL import Image

        try:
            with Image.open(self._files[index]) as image:
                pixels = np.array(to_rgb(image))
        # Pillow's decoders raise many kinds of errors on damaged files; any of them means this file.
        except Exception as error:
            raise DataError(f"{self._files[index]}: broken image ({error})") from error
        return torch.from_numpy(pixels).permute(2, 0, 1)


class RunSource:
    """Images that a run's moving-average generator makes, rounded to bytes as in a file; labels in turn.

    Parameters
    ----------
    run : Path
        Folder of the run; its newest checkpoint is taken.
    n : int
        Number of images.
    seed : int
        Decides the noise.
    device : torch.device
        Where the generator computes.
    """

    identity: str | None = None
    # Images whose noise is drawn together, so that it depends on neither batch size nor number of processes.
    _BLOCK = 64

    def __init__(self, run: Path, n: int, seed: int, device: torch.device) -> None:
        self._recipe, generator, step = load_run(run)
        self._generator = generator.to(device)
        self.name = f"{run}, step {step}"
        self._n = n
        random = torch.Generator().manual_seed(seed)
        self._seeds = torch.randint(2**32, (-(-n // self._BLOCK),), generator=random).tolist()

    def __len__(self) -> int:
        return self._n

    @torch.no_grad()
    def images(self, indices: Tensor) -> list[Tensor]:
        """See ``ImageSource.images``; the indices must ascend."""
        blocks = indices // self._BLOCK
        made = [self._block(int(block))[indices[blocks == block] % self._BLOCK] for block in blocks.unique()]
        return [torch.cat(made)]

    def _block(self, block: int) -> Tensor:
        indices = torch.arange(block * self._BLOCK, (block + 1) * self._BLOCK)
        classes = self._recipe.num_classes
        labels = None if classes is None else indices % classes
        random = torch.Generator().manual_seed(self._seeds[block])
        return to_uint8(self._recipe.sample(self._generator, len(indices), labels, random)).cpu()
