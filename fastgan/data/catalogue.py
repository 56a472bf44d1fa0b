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


def open_data(data: str, *, strict: bool = False) -> ImageData:
    """Open a data set of 32×32 images.

    Parameters
    ----------
    data : str
        A name (``fashion-mnist``, ``digits``) or the path of a folder or an ``.npz`` file.
    strict : bool, default: False
        A broken image stops the run instead of being skipped.

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
        return open_idx(find_fashion_mnist(), "fashion-mnist")
    if data == "digits":
        return open_digits()
    path = Path(data).expanduser()
    if path.is_dir():
        return open_idx(path, path.name) if has_idx(path) else FolderData(path, strict=strict)
    if path.is_file() and path.suffix == ".npz":
        return open_npz(path)
    raise DataError(f"unknown data set {data!r}; there are: " + "; ".join(available()))
