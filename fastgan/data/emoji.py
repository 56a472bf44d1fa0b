"""The same emoji drawn in several styles, from packages of the npm registry."""

from __future__ import annotations

import hashlib
import io
import json
import os
import tarfile
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
import torch

from .base import DataError
from .decode import need_pillow, square
from .fetch import Download, beside, cache_folder, download
from .paired import PairedData

__all__ = ["DOWNLOAD_SIZE", "LICENSE", "STYLES", "URLS", "fetch_emoji", "find_emoji", "open_emoji"]

_SIZE = 64
_REGISTRY = "https://registry.npmjs.org"


@dataclass(frozen=True)
class _Package:
    """Where a style comes from, whose it is, and where its pictures lie; each is named by its key."""

    file: Download
    artwork: str
    folder: str
    skin_tones: bool


_PACKAGES = {
    "twitter": _Package(
        Download(
            f"{_REGISTRY}/emoji-datasource-twitter/-/emoji-datasource-twitter-16.0.0.tgz",
            "sha512-7F+uCuHH+7Qnrc15P5tnbvKkg9E6tlzi4MnT2uW1RlN4pLYTza6cP/dstIfSDMtpjFLWuZewWg8jBbuL2eyELQ==",
            61_683_754,
        ),
        "Twemoji, CC BY 4.0",
        "package/img/twitter/64",
        skin_tones=True,
    ),
    "google": _Package(
        Download(
            f"{_REGISTRY}/emoji-datasource-google/-/emoji-datasource-google-16.0.0.tgz",
            "sha512-ZRexfzs7MVoLnmzZmNsO4TKhnAJp5D++Vm6PpUpH/jEQQlemp3l88CjZ+DoZ2faM9R4QxZkOPJCoT8DlPhfQ3A==",
            74_344_091,
        ),
        "Noto, Apache 2.0",
        "package/img/google/64",
        skin_tones=True,
    ),
    "fluent": _Package(
        Download(
            f"{_REGISTRY}/@lobehub/fluent-emoji-3d/-/fluent-emoji-3d-1.1.0.tgz",
            "sha512-Wlq2lVStTnr8BDpIJ0pEnTKO4LuDxxqTEhTvRtD1DLRF0me7ogeRQjKoehDHXuVJ2Qaecgl5wRBv60lUAG3h7g==",
            15_792_027,
        ),
        "Microsoft Fluent, MIT",
        "package/assets",
        skin_tones=False,  # the package has many of them mixed up: medium is medium-light, and not always
    ),
}
#: The first one's package says which emoji there are.
STYLES = tuple(_PACKAGES)
LICENSE = "; ".join(f"{style}: {package.artwork}" for style, package in _PACKAGES.items())
URLS = [package.file.url for package in _PACKAGES.values()]
DOWNLOAD_SIZE = sum(package.file.size for package in _PACKAGES.values())


def find_emoji() -> Path:
    """The file in ``cache_folder()`` that ``fetch_emoji`` makes.

    Raises
    ------
    DataError
        If it is not there; the message says how to get it.
    """
    path = _path()
    if not path.is_file():
        raise DataError(f"emoji not found in {path}; get it with `fastgan data fetch emoji`")
    return path


def fetch_emoji() -> Path:
    """Find the emoji, or download their packages and keep the pictures, 64×64, in a file of ``cache_folder()``.

    The packages are checked against the checksums that the registry has published for these versions; the file appears
    whole or not at all. One that is damaged is made anew.

    Raises
    ------
    DataError
        If a package cannot be downloaded or is not the one expected, or Pillow is missing.
    """
    path = _path()
    try:
        _read(find_emoji(), STYLES)
        return path
    except DataError:
        need_pillow("emoji")
    arrays: dict[str, np.ndarray] = {}
    with beside(path) as folder:
        archive = folder / "package.tgz"
        for style, package in _PACKAGES.items():
            download("emoji", package.file, archive)
            pictures, listing = _unpacked(archive, package.folder)
            if "keys" not in arrays:
                arrays |= _subjects(listing)
            keys = [str(key) for key in arrays["keys"]]
            rows = [r for r, key in enumerate(keys) if key in pictures and (package.skin_tones or not _toned(key))]
            arrays[style] = np.stack([pictures[keys[row]] for row in rows])
            arrays[f"{style}_rows"] = np.array(rows)
        np.savez_compressed(folder / "emoji.npz", **arrays)  # type: ignore[arg-type]
        os.replace(folder / "emoji.npz", path)
    return path


def open_emoji(
    styles: Sequence[str] = ("twitter", "google"), *, split: str = "train", image_size: int = 32
) -> PairedData:
    """Open the emoji that are drawn in all of the styles.

    Parameters
    ----------
    styles : sequence of str, default: twitter and google
        Domains, of ``STYLES``. Twitter and Google draw 3,786 emoji; of Fluent's those 1,852
        are taken that have no skin tone.
    split : str, default: "train"
        "train", or "test" for the tenth that is held out. Drawings that differ in skin, gender or direction alone are
        on the same side; the side of an emoji depends on nothing but its code points.
    image_size : int, default: 32
        Height and width in pixels; 64 is the drawings' own.

    Returns
    -------
    PairedData
        RGB, on white. Its keys are the emoji's code points, its classes Unicode's groups; the five swatches of skin
        tones count as symbols.

    Raises
    ------
    DataError
        For an unknown style or split, or where the emoji are not there or their file is damaged.
    """
    unknown = [style for style in styles if style not in STYLES]
    if unknown or not styles or len(set(styles)) < len(styles):
        raise DataError(f"emoji: styles must be different ones of {', '.join(STYLES)}, got {', '.join(styles)}")
    if split not in ("train", "test"):
        raise DataError(f"emoji: split must be train or test, got {split!r}")
    arrays = _read(find_emoji(), styles)
    keys = [str(key) for key in arrays["keys"]]
    rows = [row for row, key in enumerate(keys) if _held_out(key) == (split == "test")]
    for style in styles:
        drawn = set(arrays[f"{style}_rows"].tolist())
        rows = [row for row in rows if row in drawn]
    images = [arrays[style][np.searchsorted(arrays[f"{style}_rows"], rows)] for style in styles]
    classes, labels = np.unique(arrays["categories"], return_inverse=True)
    return PairedData(
        name="emoji",
        domains=tuple(styles),
        classes=tuple(map(str, classes)),
        keys=tuple(keys[row] for row in rows),
        images=torch.from_numpy(np.stack(images)).permute(0, 1, 4, 2, 3),
        labels=torch.from_numpy(labels[rows]).long(),
        image_size=image_size,
    )


def _path() -> Path:
    return cache_folder() / "emoji-16.0.0.npz"


def _read(path: Path, styles: Sequence[str]) -> dict[str, np.ndarray]:
    names = ["keys", "categories", *styles, *(f"{style}_rows" for style in styles)]
    try:
        with np.load(path, allow_pickle=False) as archive:
            return {name: archive[name] for name in names}
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error, AttributeError) as error:
        raise DataError(f"{path}: damaged ({error}); get it again with `fastgan data fetch emoji`") from error


def _unpacked(archive: Path, folder: str) -> tuple[dict[str, np.ndarray], list[dict]]:
    """The pictures in a folder of a package by their names, and the list of emoji in it, if any."""
    from PIL import Image

    pictures: dict[str, np.ndarray] = {}
    listing: list[dict] = []
    with tarfile.open(archive, "r:gz") as package:
        for member in package:
            place = PurePosixPath(member.name)
            if str(place.parent) != folder and member.name != "package/emoji.json":
                continue
            content = package.extractfile(member)
            if content is None:
                continue
            if place.name == "emoji.json":
                listing = json.load(content)
            else:
                with Image.open(io.BytesIO(content.read())) as image:
                    pictures[place.stem] = square(image, _SIZE)
    return pictures, listing


def _subjects(listing: list[dict]) -> dict[str, np.ndarray]:
    """Keys and categories of all emoji and their variants in skin tone, in the order of the keys."""
    found = {
        each["unified"].lower(): emoji["category"].replace("Component", "Symbols")
        for emoji in listing
        for each in (emoji, *emoji.get("skin_variations", {}).values())
    }
    keys = sorted(found)
    return {"keys": np.array(keys), "categories": np.array([found[key] for key in keys])}


_TONES = {f"1f3f{i}" for i in "bcdef"}
#: Code points that make a variant: the skin tones, joiner, presentation, genders, the arrow of those that face right.
_VARIANTS = {*_TONES, "200d", "fe0f", "2640", "2642", "27a1"}
_PERSON = {"1f468": "1f9d1", "1f469": "1f9d1"}


def _toned(key: str) -> bool:
    return not _TONES.isdisjoint(key.split("-"))


def _held_out(key: str) -> bool:
    """Whether an emoji is in the tenth held out; its variants are on the same side."""
    parts = [_PERSON.get(part, part) for part in key.split("-") if part not in _VARIANTS]
    return hashlib.sha256("-".join(parts or [key]).encode()).digest()[0] < 26
