"""Getting the weights of the FID Inception-v3: ``python -m fastgan.features.fetch`` prints where they are."""

from __future__ import annotations

import base64
import hashlib
import sys
from pathlib import Path

import torch

from fastgan.data import DataError
from fastgan.data.fetch import Download, cache_folder, download

__all__ = ["INCEPTION_SHA256", "fetch_inception", "find_inception", "sha256"]

INCEPTION_SHA256 = "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2"
_INCEPTION = Download(
    "https://github.com/mseitzer/pytorch-fid/releases/download/fid_weights/pt_inception-2015-12-05-6726825d.pth",
    f"sha256-{base64.b64encode(bytes.fromhex(INCEPTION_SHA256)).decode()}",
    95_628_359,
)


def sha256(path: Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def find_inception() -> Path:
    """Where the weights are: in the cache, or where pytorch-fid or torch-fidelity put the same file.

    Raises
    ------
    FileNotFoundError
        If they are in none of these places; the message says how to get them.
    """
    hub = Path(torch.hub.get_dir(), "checkpoints")
    name = _INCEPTION.url.rpartition("/")[2]
    for path in (_cached(), hub / name, hub / name.replace("pt_", "weights-")):
        if path.is_file():
            return path
    raise FileNotFoundError(
        f"the weights of the FID Inception-v3 are not in {_cached()}; get them with `python -m fastgan.features.fetch` "
        f"(96 MB), or give the path of a copy of {_INCEPTION.url} as weights"
    )


def fetch_inception() -> Path:
    """Find the weights, or download them into the cache; the file appears whole, its SHA-256 checked, or not at all.

    Raises
    ------
    DataError
        If they cannot be had, or are not the published ones.
    """
    try:
        return find_inception()
    except FileNotFoundError:
        download("Inception-v3", _INCEPTION, _cached())
        return _cached()


def _cached() -> Path:
    return cache_folder() / "features" / _INCEPTION.url.rpartition("/")[2]


if __name__ == "__main__":
    try:
        print(fetch_inception())
    except DataError as error:
        sys.exit(str(error))
