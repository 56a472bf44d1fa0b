"""Where Fashion-MNIST is looked for."""

from __future__ import annotations

import os
from pathlib import Path

from .arrays import has_idx
from .base import DataError

__all__ = ["DEBIAN_FOLDER", "DEBIAN_PACKAGE", "cache_folder", "find_fashion_mnist"]

DEBIAN_PACKAGE = "dataset-fashion-mnist"
DEBIAN_FOLDER = Path("/usr/share/datasets/fashion-mnist")


def cache_folder() -> Path:
    """``$FASTGAN_DATA``, or ``~/.cache/fastgan``: where fetched data sets are kept."""
    return Path(os.environ.get("FASTGAN_DATA") or Path.home() / ".cache" / "fastgan").expanduser()


def find_fashion_mnist() -> Path:
    """The folder of the IDX files: in ``cache_folder()``, its subfolder, or where Debian's package puts them.

    Raises
    ------
    DataError
        If it is in none of them; the message says how to get it.
    """
    folders = [cache_folder(), cache_folder() / "fashion-mnist", DEBIAN_FOLDER]
    for folder in folders:
        if has_idx(folder):
            return folder
    raise DataError(
        f"fashion-mnist not found in {', '.join(map(str, folders))}; get it with "
        f"`python -m fastgan.data.fetch` or `apt-get install {DEBIAN_PACKAGE}`, or put its IDX files "
        "in a folder and name that with --data or FASTGAN_DATA"
    )
