"""Fashion-MNIST: where it is looked for, and getting it without root from Debian's package."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from .arrays import has_idx, open_idx
from .base import ArrayData, DataError
from .fetch import beside, cache_folder

__all__ = ["DEBIAN_FOLDER", "DEBIAN_PACKAGE", "fetch_fashion_mnist", "find_fashion_mnist", "open_fashion_mnist"]

DEBIAN_PACKAGE = "dataset-fashion-mnist"
DEBIAN_FOLDER = Path("/usr/share/datasets/fashion-mnist")
#: Where the package's own files lie, which the folder looked in need not be.
_IN_PACKAGE = DEBIAN_FOLDER.relative_to("/")


def find_fashion_mnist() -> Path:
    """The folder of the IDX files: a subfolder of ``cache_folder()``, itself, or where Debian's package puts them.

    Raises
    ------
    DataError
        If it is in none of them; the message says how to get it.
    """
    # The one that fetch_fashion_mnist makes is first, so that it takes the place of any that is damaged.
    folders = [_target(), cache_folder(), DEBIAN_FOLDER]
    for folder in folders:
        if has_idx(folder):
            return folder
    raise DataError(
        f"fashion-mnist not found in {', '.join(map(str, folders))}; get it with "
        f"`fastgan data fetch fashion-mnist` or `apt-get install {DEBIAN_PACKAGE}`, or put its IDX files "
        "in a folder and name that with --data or FASTGAN_DATA"
    )


def open_fashion_mnist(image_size: int = 32) -> ArrayData:
    """Open the 60,000 training images.

    Raises
    ------
    DataError
        If they are not there, or damaged; the message says how to get them.
    """
    folder = find_fashion_mnist()
    try:
        return open_idx(folder, "fashion-mnist", image_size)
    except DataError as error:
        raise DataError(f"{error}; get it again with `fastgan data fetch fashion-mnist`") from error


def fetch_fashion_mnist() -> Path:
    """Find Fashion-MNIST, or download Debian's package and unpack it into ``cache_folder()``; root is not needed.

    apt checks the package against the checksum in its lists. The folder appears whole or not at all; one that is
    damaged is made anew.

    Raises
    ------
    DataError
        If it is not there, whole, and cannot be had: no ``apt-get`` and ``dpkg-deb``, no network, no such package.
    """
    try:
        open_fashion_mnist()
        return find_fashion_mnist()
    except DataError as missing:
        if not (shutil.which("apt-get") and shutil.which("dpkg-deb")):
            raise DataError(f"{missing} (no apt-get and dpkg-deb here to fetch it with)") from None
    target = _target()
    with beside(target) as folder:
        try:
            _run(["apt-get", "download", DEBIAN_PACKAGE], folder)
        except DataError:
            # An image of a machine often comes with no package lists; updating private ones needs no root.
            _run(["apt-get", *_private_lists(folder), "update"], folder)
            _run(["apt-get", *_private_lists(folder), "download", DEBIAN_PACKAGE], folder)
        package = next(folder.glob("*.deb"))
        _run(["dpkg-deb", "-x", str(package), "unpacked"], folder)
        unpacked = folder / "unpacked" / _IN_PACKAGE
        if not has_idx(unpacked):
            raise DataError(f"{package.name}: the package does not hold the IDX files expected in /{_IN_PACKAGE}")
        if target.exists():
            os.replace(target, folder / "damaged")
        os.replace(unpacked, target)
    return target


def _target() -> Path:
    return cache_folder() / "fashion-mnist"


def _private_lists(folder: Path) -> list[str]:
    lists = folder / "lists"
    (lists / "partial").mkdir(parents=True, exist_ok=True)
    return ["-o", f"Dir::State::Lists={lists}", "-o", f"Dir::Cache={folder}"]


def _run(command: list[str], folder: Path) -> None:
    result = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if result.returncode:
        reason = (result.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise DataError(f"fashion-mnist cannot be fetched: `{' '.join(command[:1] + command[-2:])}` failed: {reason}")
