"""Data sets that fit in memory: Fashion-MNIST (IDX files), scikit-learn's digits, ``.npz`` archives."""

from __future__ import annotations

import gzip
import struct
import zipfile
import zlib
from pathlib import Path

import numpy as np
import torch

from .base import ArrayData, DataError

__all__ = ["has_idx", "open_digits", "open_idx", "open_npz"]

_IMAGES, _LABELS = "train-images-idx3-ubyte", "train-labels-idx1-ubyte"


def _find(folder: Path, stem: str) -> Path | None:
    return next((path for path in (folder / stem, folder / f"{stem}.gz") if path.is_file()), None)


def has_idx(folder: Path) -> bool:
    """Whether ``folder`` holds the training images of a data set in MNIST's IDX format, plain or gzipped."""
    return _find(folder, _IMAGES) is not None


def _read_idx(folder: Path, stem: str) -> torch.Tensor:
    """Read an IDX file of bytes: two zeros, type 8, rank, then big-endian sizes and the data (LeCun's MNIST page)."""
    path = _find(folder, stem)
    if path is None:
        raise DataError(f"{folder}: expected {stem} or {stem}.gz, found neither")
    try:
        raw = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path}: cannot be decompressed ({error})") from error
    if len(raw) < 4 or raw[:3] != b"\0\0\x08" or len(raw) < 4 + 4 * raw[3]:
        raise DataError(f"{path}: not an IDX file of unsigned bytes")
    shape = struct.unpack_from(f">{raw[3]}I", raw, 4)
    data = np.frombuffer(raw, np.uint8, offset=4 + 4 * raw[3])
    if data.size != int(np.prod(shape)):
        raise DataError(f"{path}: the header promises {int(np.prod(shape))} bytes of data, the file has {data.size}")
    return torch.from_numpy(data.reshape(shape).copy())


def open_idx(folder: Path, name: str, image_size: int = 32) -> ArrayData:
    """Open the training half of a data set in MNIST's IDX format; 28×28 is padded to 32×32."""
    images, labels = _read_idx(folder, _IMAGES), _read_idx(folder, _LABELS)
    if images.ndim != 3:
        raise DataError(f"{folder}: expected images as [N, H, W], got {tuple(images.shape)}")
    return ArrayData(name, images[:, None], labels.long(), image_size)


def open_digits(image_size: int = 32) -> ArrayData:
    """Open scikit-learn's 1,797 handwritten digits, 8×8 resized to 32×32; they come with the package."""
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise DataError('digits needs scikit-learn: pip install "fastgan[train]"') from error
    digits = load_digits()
    # 0..16 to 0..255
    images = torch.from_numpy((digits.images * (255 / 16)).round().astype(np.uint8))[:, None]
    return ArrayData("digits", images, torch.from_numpy(digits.target).long(), image_size)


def open_npz(path: Path, image_size: int = 32) -> ArrayData:
    """Open an ``.npz`` archive: ``images``, uint8 [N, H, W], [N, H, W, C] or [N, C, H, W], and optionally ``labels``.

    Nothing is unpickled. C is 1 or 3; where both ends could be channels, the last one is.
    """
    try:
        with np.load(path, allow_pickle=False) as archive:
            if "images" not in archive:
                raise DataError(f"{path}: expected an array `images`, found {', '.join(archive) or 'nothing'}")
            images = archive["images"]
            labels = archive.get("labels")
    except DataError:
        raise
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error, AttributeError) as error:
        raise DataError(f"{path}: not a readable .npz archive ({error})") from error
    if images.ndim == 3:
        images = images[:, None]
    elif images.ndim == 4 and images.shape[3] in (1, 3):
        images = images.transpose(0, 3, 1, 2)
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[1] not in (1, 3):
        raise DataError(
            f"{path}: images must be uint8 [N, H, W], [N, H, W, C] or [N, C, H, W] with C 1 or 3, "
            f"got {images.dtype} {images.shape}"
        )
    if labels is not None and not np.issubdtype(labels.dtype, np.integer):
        raise DataError(f"{path}: labels must be integers, got {labels.dtype}")
    tensor = torch.from_numpy(np.ascontiguousarray(images))
    return ArrayData(
        path.name, tensor, None if labels is None else torch.from_numpy(labels.astype(np.int64)), image_size
    )
