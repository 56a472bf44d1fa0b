"""Finding a data set by its name or path."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from . import emoji
from .arrays import digits_file, has_idx, open_digits, open_idx, open_npz
from .base import DataError, ImageData
from .fashion_mnist import fetch_fashion_mnist, find_fashion_mnist, open_fashion_mnist
from .folder import FolderData
from .hugging_face import PREFIX, open_hugging_face
from .paired import PairedData

__all__ = ["CATALOGUE", "Entry", "Source", "available", "find_entry", "open_data", "open_pairs"]


@dataclass(frozen=True)
class Source:
    """Where data sets come from.

    Attributes
    ----------
    license : str
        Of the images.
    urls : sequence of str
    size : int
        Bytes to download.
    find, fetch : callable
        Return where the data are; raise DataError if they are not there, or cannot be had.
    """

    license: str
    urls: Sequence[str]
    size: int
    find: Callable[[], Path]
    fetch: Callable[[], Path]


@dataclass(frozen=True)
class Entry:
    """A data set with a name: what it shows, where it comes from, and how it is opened at an image size.

    Where its labels are domains that show the same subjects, ``pairs`` opens those that it leaves out in every domain.
    """

    name: str
    summary: str
    source: Source
    open: Callable[[int], ImageData]
    pairs: Callable[[int], PairedData] | None = None


_FASHION_MNIST = Source(
    "MIT", ["https://github.com/zalandoresearch/fashion-mnist, by Debian"], 30_900_652, find_fashion_mnist,
    fetch_fashion_mnist,
)  # fmt: skip
_DIGITS = Source("CC BY 4.0", ["https://archive.ics.uci.edu/dataset/80, by scikit-learn"], 0, digits_file, digits_file)
_EMOJI = Source(emoji.LICENSE, emoji.URLS, emoji.DOWNLOAD_SIZE, emoji.find_emoji, emoji.fetch_emoji)


def _one_style(style: str, drawn: str) -> Entry:
    return Entry(
        f"emoji-{style}", f"{drawn} emoji, for training, in {style}'s style, 64x64, RGB, by category", _EMOJI,
        lambda size: emoji.open_emoji([style], image_size=size).domain(style),
    )  # fmt: skip


CATALOGUE = {
    entry.name: entry
    for entry in (
        Entry(
            "fashion-mnist", "60,000 garments, 28x28, grey, 10 classes", _FASHION_MNIST,
            open_fashion_mnist,
        ),
        Entry("digits", "1,797 handwritten digits, 8x8, grey, 10 classes", _DIGITS, open_digits),
        Entry(
            "emoji", "3,404 emoji, for training (of 3,786), in twitter's and google's style, 64x64, RGB, by category",
            _EMOJI,
            lambda size: emoji.open_emoji(image_size=size).by_class(),
        ),
        _one_style("twitter", "3,404"),
        _one_style("google", "3,404"),
        _one_style("fluent", "1,672"),
        Entry(
            "emoji-styles", "1,672 emoji, for training (of 1,852), in three styles, 64x64, RGB, by style", _EMOJI,
            lambda size: emoji.open_emoji(emoji.STYLES, image_size=size).by_domain(),
            lambda size: emoji.open_emoji(emoji.STYLES, split="test", image_size=size),
        ),
    )
}  # fmt: skip


def available() -> list[str]:
    """What ``open_data`` takes, as a user reads it."""
    return [
        *CATALOGUE,
        "a folder of images (class subfolders give labels)",
        "a folder of MNIST-style IDX files",
        "an .npz file with `images` and optionally `labels`",
        f"{PREFIX}NAME, anything that Hugging Face's datasets loads",
    ]


def find_entry(name: str) -> Entry:
    """The data set with a name; raises a DataError that lists all names."""
    if name not in CATALOGUE:
        raise DataError(f"unknown data set {name!r}; there are: {', '.join(CATALOGUE)}")
    return CATALOGUE[name]


def open_pairs(data: str, *, image_size: int = 32) -> PairedData | None:
    """Open the subjects that a data set leaves out in every domain, to judge translations by; None where it has none.

    Parameters
    ----------
    data, image_size
        As for ``open_data``, whose labels are the domains here.

    Raises
    ------
    DataError
        If the data are not there or cannot be read.
    """
    pairs = CATALOGUE[data].pairs if data in CATALOGUE else None
    return None if pairs is None else pairs(image_size)


def open_data(data: str, *, strict: bool = False, image_size: int = 32) -> ImageData:
    """Open a data set.

    Parameters
    ----------
    data : str
        A name of ``CATALOGUE``, the path of a folder or an ``.npz`` file, or ``hf:`` and what
        ``open_hugging_face`` takes.
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
    if data in CATALOGUE:
        return CATALOGUE[data].open(image_size)
    if data.startswith(PREFIX):
        return open_hugging_face(data, strict=strict, image_size=image_size)
    path = Path(data).expanduser()
    if path.is_dir():
        if has_idx(path):
            return open_idx(path, path.name, image_size)
        return FolderData(path, strict=strict, image_size=image_size)
    if path.is_file() and path.suffix == ".npz":
        return open_npz(path, image_size)
    raise DataError(f"unknown data set {data!r}; there are: " + "; ".join(available()))
