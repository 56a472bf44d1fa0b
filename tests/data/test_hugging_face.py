"""Hugging Face's datasets behind the interface, from files made here."""

from __future__ import annotations

import io
import sys
import tarfile
from pathlib import Path

import datasets
import numpy as np
import pytest
import torch
from PIL import Image

from fastgan.data import DataError, open_data
from fastgan.data.hugging_face import HuggingFaceData


@pytest.fixture(autouse=True)
def _here_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
    monkeypatch.setattr("datasets.config.HF_HUB_OFFLINE", True)
    datasets.disable_progress_bars()


def _png(value: int, mode: str = "RGB") -> bytes:
    content = io.BytesIO()
    Image.new(mode, (40, 32), (value,) * len(mode) if len(mode) > 1 else value).save(content, "png")
    return content.getvalue()


def _folder(root: Path) -> str:
    for i, name in enumerate(("cat/0.png", "cat/1.png", "dog/2.png")):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(_png(10 * i))
    return f"hf:imagefolder?data_dir={root}"


def _table(contents: list[bytes], **columns: list[int]) -> datasets.Dataset:
    pictures = [{"bytes": content, "path": None} for content in contents]
    features = {"picture": datasets.Image(), **{name: datasets.Value("int64") for name in columns}}
    return datasets.Dataset.from_dict({"picture": pictures, **columns}, features=datasets.Features(features))


def _parquet(root: Path) -> str:
    _table([_png(10 * i) for i in range(3)], kind=[0, 0, 1]).to_parquet(root / "x.parquet")
    return f"hf:parquet?data_files={root}/x.parquet&label=kind"


def _webdataset(root: Path) -> str:
    with tarfile.open(root / "x.tar", "w") as archive:
        for i, label in enumerate((0, 0, 1)):
            for suffix, content in (("png", _png(10 * i)), ("cls", str(label).encode())):
                member = tarfile.TarInfo(f"{i:04d}.{suffix}")
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))
    return f"hf:webdataset?data_files={root}/x.tar&label=cls"


@pytest.mark.parametrize("options", ["", "&streaming=true&take=3"])
@pytest.mark.parametrize("make", [_folder, _parquet, _webdataset])
def test_formats(tmp_path: Path, make: object, options: str) -> None:
    data = open_data(make(tmp_path) + options, image_size=16)  # type: ignore[operator]
    assert (len(data), data.num_classes, data.image_channels, data.image_size) == (3, 2, 3, 16)
    images, labels = data.batch(torch.tensor([2, 0, 1]))
    assert images.shape == (3, 3, 16, 16) and images.dtype == torch.uint8
    assert images.flatten(1).unique(dim=1).T.tolist() == [[20, 0, 10]]
    assert labels is not None and labels.tolist() == [1, 0, 0]


def test_take_stops_a_stream_early(tmp_path: Path) -> None:
    data = open_data(_webdataset(tmp_path).replace("&label=cls", "") + "&streaming=true&take=2&channels=1")
    assert (len(data), data.num_classes, data.image_channels) == (2, None, 1)
    with pytest.raises(DataError, match=r"streaming needs take=N"):
        open_data(_webdataset(tmp_path) + "&streaming=true")


@pytest.mark.parametrize("take", ["", "&take=3"])
def test_broken_image_is_named_and_skipped_or_stops(tmp_path: Path, take: str) -> None:
    _table([_png(0), _png(10)[:-30], _png(20)], kind=[0, 1, 2]).to_parquet(tmp_path / "x.parquet")
    name = f"hf:parquet?data_files={tmp_path}/x.parquet&label=kind{take}"
    with pytest.warns(UserWarning, match="row 1: broken image"):
        data = open_data(name)
        images, labels = data.batch(torch.tensor([0, 1]))
    assert images[1].unique().tolist() == [20] and labels is not None and labels.tolist() == [0, 2]
    with pytest.raises(DataError, match="row 1: broken image"):
        open_data(name, strict=True).batch(torch.tensor([1]))


def test_fingerprint_follows_the_content() -> None:
    contents = [_png(i) for i in range(40)]
    seen = [HuggingFaceData(_table(contents, kind=[0] * 40), "x", label="kind").fingerprint() for _ in range(2)]
    assert seen[0] == seen[1]
    seen.append(HuggingFaceData(_table(contents, kind=[0] * 39 + [1]), "x", label="kind").fingerprint())
    seen.append(HuggingFaceData(_table(contents[::-1], kind=[0] * 40), "x", label="kind").fingerprint())
    assert len(set(seen)) == 3


def test_palette_and_transparency_as_everywhere() -> None:
    images, _ = HuggingFaceData(_table([_png(102, "LA")]), "x").batch(torch.tensor([0]))
    assert np.unique(images).tolist() == [round(102 * 102 / 255 + 255 - 102)]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("&image=photo", r"no column photo of images; there are: picture \(Image\), kind \(Value\)"),
        ("&image=kind", "no column kind of images"),
        ("&label=class", "no column class of labels"),
        ("&label=picture", "labels must be integers from 0 on, got"),
        ("&channels=2", "channels must be 3 or 1, got 2"),
        ("&take=x", "take must be a number, got 'x'"),
        ("&split=valid", "datasets cannot load it"),
        ("&colour=red", "datasets cannot load it"),
    ],
)
def test_what_does_not_fit_is_named(tmp_path: Path, options: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        open_data(_parquet(tmp_path).replace("&label=kind", "") + options)


def test_two_columns_of_images_need_a_choice() -> None:
    one = _table([_png(0)])
    both = datasets.concatenate_datasets([one, one.rename_column("picture", "other")], axis=1)
    with pytest.raises(DataError, match="image=COLUMN must say which"):
        HuggingFaceData(both, "x")


def test_without_datasets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(DataError, match=r'pip install "fastgan\[hub\]"'):
        open_data("hf:mnist")
