"""Downloads that arrive whole: a file is in its place only after its checksum has been found right."""

from __future__ import annotations

import base64
import hashlib
import http.client
import os
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from .base import DataError

__all__ = ["Download", "beside", "cache_folder", "download"]

_CHUNK = 1 << 20
_TIMEOUT = 60  # seconds without a byte


def cache_folder() -> Path:
    """``$FASTGAN_DATA``, or ``~/.cache/fastgan``: where fetched data sets are kept."""
    return Path(os.environ.get("FASTGAN_DATA") or Path.home() / ".cache" / "fastgan").expanduser()


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


@contextmanager
def beside(path: Path) -> Iterator[Path]:
    """A temporary folder on the file system of ``path``, so that what is made there can be renamed to it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".fetch-") as folder:
        yield Path(folder)


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
    with beside(target) as folder:
        part = folder / "part"
        try:
            with urllib.request.urlopen(file.url, timeout=_TIMEOUT) as response, part.open("wb") as out:
                while chunk := response.read(_CHUNK):
                    digest.update(chunk)
                    out.write(chunk)
        except (urllib.error.URLError, http.client.HTTPException, TimeoutError, ConnectionError) as error:
            raise DataError(f"{name}: {file.url} cannot be downloaded ({error})") from error
        found = base64.b64encode(digest.digest()).decode()
        if found != expected:
            size = part.stat().st_size
            raise DataError(
                f"{name}: {file.url} arrived damaged or is another file: expected {file.size:,} bytes with "
                f"{file.integrity}, got {size:,} bytes with {algorithm}-{found}; nothing was kept, try again"
            )
        os.replace(part, target)
