"""Every kind of data set, from files made here; broken ones get an error that names them."""

from __future__ import annotations

import gzip
import os
import struct
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from fastgan.data import ArrayData, DataError, open_data
from fastgan.data.fashion_mnist import fetch_fashion_mnist, find_fashion_mnist


def _idx(array: np.ndarray) -> bytes:
    return b"\0\0\x08" + bytes([array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


def _write_idx(folder: Path, images: np.ndarray, labels: np.ndarray, *, gz: bool) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for stem, array in (("train-images-idx3-ubyte", images), ("train-labels-idx1-ubyte", labels)):
        raw = _idx(array)
        if gz:
            (folder / f"{stem}.gz").write_bytes(gzip.compress(raw))
        else:
            (folder / stem).write_bytes(raw)


@pytest.fixture
def garments() -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(0)
    return random.integers(0, 256, (12, 28, 28), np.uint8), np.arange(12, dtype=np.uint8) % 3


@pytest.mark.parametrize("gz", [False, True])
def test_idx_is_padded_not_resized(tmp_path: Path, garments: tuple[np.ndarray, np.ndarray], gz: bool) -> None:
    images, labels = garments
    _write_idx(tmp_path, images, labels, gz=gz)
    data = open_data(str(tmp_path))
    assert (len(data), data.image_channels, data.image_size, data.num_classes) == (12, 1, 32, 3)
    x, y = data.batch(torch.tensor([5, 2]))
    assert x.shape == (2, 1, 32, 32) and x.dtype == torch.uint8
    assert np.array_equal(x[:, 0, 2:30, 2:30].numpy(), images[[5, 2]])
    assert x[:, :, :2].sum() == 0 and x[..., 30:].sum() == 0
    assert y is not None and y.tolist() == [2, 2]


def test_fashion_mnist_is_found_in_the_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, garments: tuple[np.ndarray, np.ndarray]
) -> None:
    _write_idx(tmp_path / "fashion-mnist", *garments, gz=True)
    monkeypatch.setenv("FASTGAN_DATA", str(tmp_path))
    assert find_fashion_mnist() == tmp_path / "fashion-mnist"
    assert open_data("fashion-mnist").name == "fashion-mnist"


def test_missing_fashion_mnist_says_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FASTGAN_DATA", str(tmp_path))
    monkeypatch.setattr("fastgan.data.fashion_mnist.DEBIAN_FOLDER", tmp_path / "none")
    with pytest.raises(DataError, match="`fastgan data fetch fashion-mnist`"):
        find_fashion_mnist()


def test_fetch_without_the_package_manager(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FASTGAN_DATA", str(tmp_path))
    monkeypatch.setattr("fastgan.data.fashion_mnist.DEBIAN_FOLDER", tmp_path / "none")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(DataError, match="no apt-get and dpkg-deb here"):
        fetch_fashion_mnist()
    assert not list(tmp_path.iterdir())


def _package_tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: Path, *, good: bool = True) -> Path:
    """Replace the two by scripts that unpack ``source``, or fail; returns the cache, the only place looked in."""
    tools, cache = tmp_path / "tools", tmp_path / "cache"
    tools.mkdir()
    unpack = f'mkdir -p "$3/usr/share/datasets" && cp -r {source} "$3/usr/share/datasets/fashion-mnist"'
    scripts = {"apt-get": "touch package.deb", "dpkg-deb": unpack if good else "echo broken >&2; exit 1"}
    for name, script in scripts.items():
        (tools / name).write_text(f"#!/bin/sh\n{script}\n")
        (tools / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(tools), prepend=os.pathsep)
    monkeypatch.setenv("FASTGAN_DATA", str(cache))
    monkeypatch.setattr("fastgan.data.fashion_mnist.DEBIAN_FOLDER", tmp_path / "none")
    return cache


@pytest.mark.parametrize("deb", ["good", "fails"])
def test_fetch_is_whole_or_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, garments: tuple[np.ndarray, np.ndarray], deb: str
) -> None:
    """What is unpacked lands in the cache, a failure leaves nothing."""
    _write_idx(tmp_path / "source", *garments, gz=True)
    cache = _package_tools(tmp_path, monkeypatch, tmp_path / "source", good=deb == "good")
    if deb == "good":
        assert len(open_data(str(fetch_fashion_mnist()))) == 12
        assert [path.name for path in cache.iterdir()] == ["fashion-mnist"]
    else:
        with pytest.raises(DataError, match="failed: broken"):
            fetch_fashion_mnist()
        assert not list(cache.iterdir())


@pytest.mark.parametrize("place", [".", "fashion-mnist"])
def test_a_damaged_copy_is_noticed_and_made_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, garments: tuple[np.ndarray, np.ndarray], place: str
) -> None:
    _write_idx(tmp_path / "source", *garments, gz=True)
    cache = _package_tools(tmp_path, monkeypatch, tmp_path / "source")
    _write_idx(cache / place, *garments, gz=True)
    file = cache / place / "train-labels-idx1-ubyte.gz"
    file.write_bytes(file.read_bytes()[:-3])
    with pytest.raises(DataError, match=rf"{file}: .*; get it again with `fastgan data fetch fashion-mnist`"):
        open_data("fashion-mnist")
    assert fetch_fashion_mnist() == cache / "fashion-mnist"
    assert len(open_data("fashion-mnist")) == 12
    assert fetch_fashion_mnist() == cache / "fashion-mnist"  # whole now: nothing is fetched
    assert not list(cache.glob(".fetch-*"))


@pytest.mark.parametrize("damage", ["truncated", "foreign", "gzip"])
def test_broken_idx_is_named(tmp_path: Path, garments: tuple[np.ndarray, np.ndarray], damage: str) -> None:
    _write_idx(tmp_path, *garments, gz=False)
    path = tmp_path / "train-images-idx3-ubyte"
    raw = path.read_bytes()
    if damage == "gzip":
        path.unlink()
        path = path.with_suffix(".gz")
        path.write_bytes(gzip.compress(raw)[:-20])
    else:
        path.write_bytes(raw[:-5] if damage == "truncated" else b"hello world")
    with pytest.raises(DataError, match=path.name):
        open_data(str(tmp_path))


def test_digits() -> None:
    data = open_data("digits")
    assert (len(data), data.image_channels, data.num_classes) == (1797, 1, 10)
    images, _ = data.batch(torch.arange(100))
    assert images.shape == (100, 1, 32, 32)
    assert images.max() > 240 and images.min() == 0


@pytest.mark.parametrize("shape", [(6, 32, 32), (6, 32, 32, 3), (6, 3, 32, 32), (6, 48, 40, 1)])
def test_npz(tmp_path: Path, shape: tuple[int, ...]) -> None:
    images = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    np.savez(tmp_path / "x.npz", images=images, labels=np.array([0, 1, 2, 0, 1, 4]))
    data = open_data(str(tmp_path / "x.npz"))
    x, y = data.batch(torch.arange(6))
    assert x.shape == (6, 3 if 3 in shape[1:] else 1, 32, 32)
    assert data.num_classes == 5 and y is not None and y.tolist() == [0, 1, 2, 0, 1, 4]
    if shape == (6, 32, 32, 3):
        assert np.array_equal(x.permute(0, 2, 3, 1).numpy(), images)


@pytest.mark.parametrize("kind", ["npz", "idx"])
def test_arrays_that_are_not_square_are_cut_to_their_central_square(tmp_path: Path, kind: str) -> None:
    images = np.random.default_rng(0).integers(0, 256, (2, 48, 32), np.uint8)
    expected = images[:, 8:40]
    for array, square in ((images, expected), (images.transpose(0, 2, 1), expected.transpose(0, 2, 1))):
        if kind == "npz":
            np.savez(tmp_path / "x.npz", images=array)
        else:
            _write_idx(tmp_path / "idx", array, np.zeros(2, np.uint8), gz=False)
        x, _ = open_data(str(tmp_path / ("x.npz" if kind == "npz" else "idx"))).batch(torch.arange(2))
        assert np.array_equal(x[:, 0].numpy(), square)


def test_npz_without_labels(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", images=np.zeros((2, 32, 32), np.uint8))
    data = open_data(str(tmp_path / "x.npz"))
    assert data.num_classes is None and data.batch(torch.tensor([1]))[1] is None


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"pictures": np.zeros((2, 32, 32), np.uint8)}, "expected an array `images`, found pictures"),
        ({"images": np.zeros((2, 32, 32), np.float32)}, "must be uint8"),
        ({"images": np.zeros((2, 5, 32, 32), np.uint8)}, r"with C 1 or 3"),
        ({"images": np.zeros((2, 32, 32), np.uint8), "labels": np.zeros(3, int)}, "expected 2 labels"),
        ({"images": np.zeros((2, 32, 32), np.uint8), "labels": np.array([0, -1])}, "not be negative"),
        ({"images": np.zeros((2, 32, 32), np.uint8), "labels": np.zeros(2)}, "labels must be integers"),
        ({"images": np.zeros((0, 32, 32), np.uint8)}, "at least one"),
        ({"images": np.array([{}, {}], dtype=object)}, "not a readable .npz"),
    ],
)
def test_bad_npz_is_named(tmp_path: Path, arrays: dict[str, np.ndarray], message: str) -> None:
    np.savez(tmp_path / "x.npz", **arrays)
    with pytest.raises(DataError, match=message) as error:
        open_data(str(tmp_path / "x.npz"))
    assert "x.npz" in str(error.value)


def test_not_an_npz(tmp_path: Path) -> None:
    (tmp_path / "x.npz").write_bytes(b"not a zip")
    with pytest.raises(DataError, match=r"x\.npz: not a readable"):
        open_data(str(tmp_path / "x.npz"))


def _pictures(folder: Path, names: list[str]) -> None:
    for i, name in enumerate(names):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("L" if i % 2 else "RGB", (40 + i, 64), 10 * (i + 1)).save(path)


def test_folder_with_classes(tmp_path: Path) -> None:
    _pictures(tmp_path, ["cats/a.png", "cats/b.jpg", "dogs/c.png", "dogs/more/d.PNG"])
    (tmp_path / "empty").mkdir()
    (tmp_path / "notes.txt").write_text("not an image")
    data = open_data(str(tmp_path))
    assert (len(data), data.num_classes, data.image_channels) == (4, 2, 3)
    x, y = data.batch(torch.tensor([3, 0, 1, 2]))
    assert x.shape == (4, 3, 32, 32) and x.dtype == torch.uint8
    assert y is not None and y.tolist() == [1, 0, 0, 1]
    assert x[0].unique().tolist() == [40]


def test_transparent_pixels_become_white(tmp_path: Path) -> None:
    Image.new("RGBA", (32, 32), (9, 9, 9, 0)).save(tmp_path / "a.png")
    Image.new("LA", (32, 32), (0, 102)).save(tmp_path / "b.png")
    images, _ = open_data(str(tmp_path)).batch(torch.tensor([0, 1]))
    assert (images[0] == 255).all() and (images[1] == 255 - 102).all()


def test_image_size(tmp_path: Path) -> None:
    _pictures(tmp_path / "folder", ["a.png"])
    np.savez(tmp_path / "x.npz", images=np.zeros((2, 32, 32), np.uint8))
    _write_idx(tmp_path / "idx", np.ones((2, 28, 28), np.uint8), np.ones(2, np.uint8), gz=False)
    for data in (str(tmp_path / "folder"), str(tmp_path / "x.npz"), str(tmp_path / "idx"), "digits"):
        opened = open_data(data, image_size=16)
        assert opened.image_size == 16 and opened.batch(torch.tensor([0]))[0].shape[2:] == (16, 16)


def test_folder_without_classes_and_mixed(tmp_path: Path) -> None:
    _pictures(tmp_path, ["a.png", "b.png"])
    assert open_data(str(tmp_path)).num_classes is None
    _pictures(tmp_path, ["cats/c.png"])
    with pytest.raises(DataError, match="beside class subfolders"):
        open_data(str(tmp_path))


def test_broken_image_is_named_and_counted_or_stops(tmp_path: Path) -> None:
    _pictures(tmp_path, ["x/a.png", "x/b.png", "y/c.png"])
    whole = (tmp_path / "x/b.png").read_bytes()
    (tmp_path / "x/b.png").write_bytes(whole[: len(whole) // 2])
    data = open_data(str(tmp_path))
    with pytest.warns(UserWarning, match=r"b\.png: broken image"):
        images, labels = data.batch(torch.tensor([0, 1, 2]))
    assert labels is not None and labels.tolist() == [0, 1, 1]
    assert torch.equal(images[1], images[2])
    assert data.report() == f"{tmp_path.name}: 1 broken image skipped"
    again, _ = data.batch(torch.tensor([0, 1, 2]))
    assert torch.equal(images, again)
    with pytest.raises(DataError, match=r"b\.png: broken image"):
        open_data(str(tmp_path), strict=True).batch(torch.tensor([1]))


def test_fingerprints_follow_the_content(tmp_path: Path) -> None:
    images, labels = torch.zeros(3, 1, 32, 32, dtype=torch.uint8), torch.tensor([0, 1, 1])
    seen = {ArrayData("x", images, labels).fingerprint()}
    assert ArrayData("y", images.clone(), labels.clone()).fingerprint() in seen
    seen.add(ArrayData("x", images, labels.flip(0)).fingerprint())
    images[1, 0, 4, 4] = 1
    seen.add(ArrayData("x", images, labels).fingerprint())
    assert len(seen) == 3

    folder = tmp_path / "here"
    _pictures(folder, ["a/0.png", "b/1.png"])
    before = open_data(str(folder)).fingerprint()
    moved = folder.rename(tmp_path / "there")
    assert open_data(str(moved)).fingerprint() == before
    (moved / "b" / "1.png").rename(moved / "b" / "2.png")
    renamed = open_data(str(moved)).fingerprint()
    with (moved / "a" / "0.png").open("ab") as file:
        file.write(b"longer")
    longer = open_data(str(moved)).fingerprint()
    content = bytearray((moved / "a" / "0.png").read_bytes())
    content[-1] ^= 1
    (moved / "a" / "0.png").write_bytes(content)
    assert len({before, renamed, longer, open_data(str(moved)).fingerprint()}) == 4


def test_folder_with_nothing_good(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no images found"):
        open_data(str(tmp_path))
    (tmp_path / "a.png").write_bytes(b"x")
    with pytest.warns(UserWarning, match="broken image"), pytest.raises(DataError, match="none of the 1 images"):
        open_data(str(tmp_path)).batch(torch.tensor([0]))


def test_unknown_data_set_lists_what_exists() -> None:
    with pytest.raises(DataError, match=r"unknown data set 'mnits'; there are: fashion-mnist; digits; emoji; "):
        open_data("mnits")


def test_array_data_of_fewer_classes_than_there_are() -> None:
    images, labels = torch.zeros(2, 1, 32, 32, dtype=torch.uint8), torch.tensor([0, 1])
    assert ArrayData("x", images, labels, num_classes=5).num_classes == 5
    with pytest.raises(DataError, match="labels must be below num_classes 1, got 1"):
        ArrayData("x", images, labels, num_classes=1)


def test_array_data_refuses_other_types() -> None:
    with pytest.raises(DataError, match=r"uint8 image as \[N, C, H, W\], got torch.float32"):
        ArrayData("x", torch.zeros(2, 1, 32, 32))
