"""Getting files: ones with a known checksum, and Fashion-MNIST from Debian's package, without root.

``python -m fastgan.data.fetch`` fetches Fashion-MNIST and prints where it is.
"""

from __future__ import annotations

import base64
import hashlib
import http.client
import os
import shutil
import subprocess
import sys
import tempfile
import urllib.request
from dataclasses import dataclass
from pathlib import Path

from .arrays import has_idx
from .base import DataError
from .fashion_mnist import DEBIAN_FOLDER, DEBIAN_PACKAGE, cache_folder, find_fashion_mnist

__all__ = ["Download", "cache_folder", "download", "fetch_fashion_mnist"]


@dataclass(frozen=True)
class Download:
    """A file of a pinned version.

    Attributes
    ----------
    url : str
    integrity : str
        Of its content, as the npm registry writes it: the algorithm, a hyphen, and the digest in base64.
    size : int
        In bytes.
    """

    url: str
    integrity: str
    size: int


def download(name: str, file: Download, target: Path) -> None:
    """Write a file to ``target``; nothing is left there unless all of it came, unharmed.

    Parameters
    ----------
    name : str
        Of what is fetched, for errors.
    file : Download
    target : Path
        Replaced if it exists.

    Raises
    ------
    DataError
        If the file cannot be had, is cut short, or is not the one that was published.
    """
    algorithm, _, expected = file.integrity.partition("-")
    digest = hashlib.new(algorithm)
    target.parent.mkdir(parents=True, exist_ok=True)
    # In the same folder, so that the last step is a rename within one file system.
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".fetch-") as folder:
        part = Path(folder, "part")
        try:
            with urllib.request.urlopen(file.url, timeout=60) as response, part.open("wb") as out:
                while chunk := response.read(1 << 20):
                    digest.update(chunk)
                    out.write(chunk)
        except (OSError, http.client.HTTPException) as error:
            raise DataError(f"{name}: {file.url} cannot be downloaded ({error})") from error
        found = base64.b64encode(digest.digest()).decode()
        if found != expected:
            size = part.stat().st_size
            raise DataError(
                f"{name}: {file.url} arrived damaged or is another file: expected {file.size:,} bytes with "
                f"{file.integrity}, got {size:,} bytes with {algorithm}-{found}; nothing was kept, try again"
            )
        os.replace(part, target)


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
