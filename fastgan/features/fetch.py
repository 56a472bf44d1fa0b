"""Getting the weights of the FID Inception-v3: ``python -m fastgan.features.fetch`` prints where they are."""

from __future__ import annotations

import sys
from pathlib import Path

import torch

from fastgan.data import DataError
from fastgan.data.fashion_mnist import cache_folder
from fastgan.data.fetch import fetch_file, sha256

__all__ = ["INCEPTION_SHA256", "fetch_inception", "find_inception", "sha256"]

INCEPTION_URL = (
    "https://github.com/mseitzer/pytorch-fid/releases/download/fid_weights/pt_inception-2015-12-05-6726825d.pth"
)
INCEPTION_SHA256 = "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2"


def find_inception() -> Path:
    """Where the weights are: in the cache, or where pytorch-fid or torch-fidelity put the same file.

    Raises
    ------
    FileNotFoundError
        If they are in none of these places; the message says how to get them.
    """
    hub = Path(torch.hub.get_dir(), "checkpoints")
    name = INCEPTION_URL.rpartition("/")[2]
    for path in (_cached(), hub / name, hub / name.replace("pt_", "weights-")):
        if path.is_file():
            return path
    raise FileNotFoundError(
        f"the weights of the FID Inception-v3 are not in {_cached()}; get them with `python -m fastgan.features.fetch` "
        f"(96 MB), or give the path of a copy of {INCEPTION_URL} as weights"
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
        return fetch_file(INCEPTION_URL, INCEPTION_SHA256, _cached())


def _cached() -> Path:
    return cache_folder() / "features" / INCEPTION_URL.rpartition("/")[2]


if __name__ == "__main__":
    try:
        print(fetch_inception())
    except DataError as error:
        sys.exit(str(error))
