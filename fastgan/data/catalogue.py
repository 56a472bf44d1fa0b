"""Finding a data set by its name or path."""

from __future__ import annotations

from pathlib import Path

from .arrays import has_idx, open_digits, open_idx, open_npz
from .base import DataError, ImageData
from .fashion_mnist import find_fashion_mnist
from .folder import FolderData

__all__ = ["available", "open_data"]


def available() -> list[str]:
    """What ``open_data`` takes, as a user reads it."""
    return [
        "fashion-mnist",
        "digits",
        "a folder of images (class subfolders give labels)",
        "a folder of MNIST-style IDX files",
        "an .npz file with `images` and optionally `labels`",
    ]


def open_data(data: str, *, strict: bool = False, image_size: int = 32) -> ImageData:
    """Open a data set.

    Parameters
    ----------
    data : str
        A name (``fashion-mnist``, ``digits``) or the path of a folder or an ``.npz`` file.
    strict : bool, default: False
        A broken image stops the run instead of being skipped.
    image_size : int, default: 32
        Height and width in pixels.

    Returns
    -------
    ImageData
        The opened data set.

    Raises
    ------
    DataError
        If there is no such data set (the message lists what exists) or it cannot be read.
    """
    if data == "fashion-mnist":
        return open_idx(find_fashion_mnist(), "fashion-mnist", image_size)
    if data == "digits":
        return open_digits(image_size)
    path = Path(data).expanduser()
    if path.is_dir():
        if has_idx(path):
            return open_idx(path, path.name, image_size)
        return FolderData(path, strict=strict, image_size=image_size)
    if path.is_file() and path.suffix == ".npz":
        return open_npz(path, image_size)
    raise DataError(f"unknown data set {data!r}; there are: " + "; ".join(available()))
