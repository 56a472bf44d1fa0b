"""Getting files: any one with a known checksum, and Fashion-MNIST from Debian's package, without root.

``python -m fastgan.data.fetch`` fetches Fashion-MNIST and prints where it is.
"""

from __future__ import annotations

import hashlib
import http.client
import os
import shutil
import subprocess
import sys
import tempfile
import urllib.request
from pathlib import Path

from .arrays import has_idx
from .base import DataError
from .fashion_mnist import DEBIAN_FOLDER, DEBIAN_PACKAGE, cache_folder, find_fashion_mnist

__all__ = ["fetch_fashion_mnist", "fetch_file", "sha256"]


def sha256(path: Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def fetch_file(url: str, digest: str, path: Path) -> Path:
    """Download ``url`` to ``path``, which appears whole and with the SHA-256 ``digest``, or not at all.

    Raises
    ------
    DataError
        If it cannot be had, or is another file.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # In the same folder, so that the last step is a rename within one file system.
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".fetch-") as temporary:
        part = Path(temporary, path.name)
        try:
            with urllib.request.urlopen(url, timeout=60) as response, part.open("wb") as file:
                shutil.copyfileobj(response, file)
        except (OSError, http.client.HTTPException) as error:
            raise DataError(f"{url} cannot be fetched: {error}") from error
        if (found := sha256(part)) != digest:
            raise DataError(f"{url}: not the expected file, its SHA-256 is {found} and must be {digest}")
        os.replace(part, path)
    return path


def fetch_fashion_mnist() -> Path:
    """Find Fashion-MNIST, or download Debian's package and unpack it into ``cache_folder()``; root is not needed.

    The folder appears whole or not at all.

    Raises
    ------
    DataError
        If it is not there and cannot be had: no ``apt-get`` and ``dpkg-deb``, no network, no such package.
    """
    try:
        return find_fashion_mnist()
    except DataError as missing:
        if not (shutil.which("apt-get") and shutil.which("dpkg-deb")):
            raise DataError(f"{missing} (no apt-get and dpkg-deb here to fetch it with)") from None
    cache = cache_folder()
    cache.mkdir(parents=True, exist_ok=True)
    # In the cache itself, so that the last step is a rename within one file system.
    with tempfile.TemporaryDirectory(dir=cache, prefix=".fetch-") as temporary:
        try:
            _run(["apt-get", "download", DEBIAN_PACKAGE], temporary)
        except DataError:
            # An image of a machine often comes with no package lists; updating private ones needs no root.
            _run(["apt-get", *_private_lists(Path(temporary)), "update"], temporary)
            _run(["apt-get", *_private_lists(Path(temporary)), "download", DEBIAN_PACKAGE], temporary)
        package = next(Path(temporary).glob("*.deb"))
        _run(["dpkg-deb", "-x", str(package), "unpacked"], temporary)
        unpacked = Path(temporary, "unpacked", *DEBIAN_FOLDER.parts[1:])
        if not has_idx(unpacked):
            raise DataError(f"{package.name}: the package does not hold the IDX files expected in {DEBIAN_FOLDER}")
        target = cache / "fashion-mnist"
        if not target.exists():
            os.replace(unpacked, target)
    return find_fashion_mnist()


def _private_lists(folder: Path) -> list[str]:
    lists = folder / "lists"
    (lists / "partial").mkdir(parents=True, exist_ok=True)
    return ["-o", f"Dir::State::Lists={lists}", "-o", f"Dir::Cache={folder}"]


def _run(command: list[str], folder: str) -> None:
    result = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if result.returncode:
        reason = (result.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise DataError(f"fashion-mnist cannot be fetched: `{' '.join(command[:1] + command[-2:])}` failed: {reason}")


if __name__ == "__main__":
    try:
        print(fetch_fashion_mnist())
    except DataError as error:
        sys.exit(str(error))
