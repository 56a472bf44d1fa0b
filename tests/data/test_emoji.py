"""The emoji, from packages made here as the registry's are."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import tarfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from fastgan.data import DataError, open_data, open_emoji
from fastgan.data import emoji as module
from fastgan.data.fetch import Download

#: Base, category and skin tones, if any. The side of the split follows from the hash of the base alone.
LISTING = [
    ("1F600", "Smileys & Emotion", False),
    ("1F1E9-1F1EA", "Flags", False),
    ("1F44B", "People & Body", True),
    ("1F468-200D-1F52C", "People & Body", True),
    ("1F469-200D-1F52C", "People & Body", True),
    ("1F3FB", "Component", False),
    *((f"1F9{i:02X}", "Objects", False) for i in range(20)),
]
TONES = ("1F3FB", "1F3FC")


def _colour(style: str, key: str) -> tuple[int, int, int]:
    return tuple(hashlib.sha256(f"{style} {key}".encode()).digest()[:3])  # type: ignore[return-value]


def _picture(style: str, key: str) -> Image.Image:
    """Upper half drawn, lower half transparent; of another mode in every style."""
    array = np.zeros((64, 64, 4), np.uint8)
    array[:32] = (*_colour(style, key), 255)
    image = Image.fromarray(array)
    if style != "google":
        return image.resize((256, 256), Image.Resampling.NEAREST) if style == "fluent" else image
    # As pngquant writes it: colour 0 is transparent by the file's tRNS, and is some other colour by its palette.
    palette = Image.new("P", (64, 64), 0)
    palette.putpalette([255, 0, 255, *_colour(style, key)])
    palette.paste(1, (0, 0, 64, 32))
    palette.info["transparency"] = b"\x00\xff"
    return palette


def _listing() -> list[dict]:
    return [
        {
            "unified": base,
            "category": category,
            **({"skin_variations": {tone: {"unified": _toned(base, tone)} for tone in TONES}} if toned else {}),
        }
        for base, category, toned in LISTING
    ]


def _toned(base: str, tone: str) -> str:
    first, *rest = base.split("-")
    return "-".join([first, tone, *rest])


KEYS = sorted(key.lower() for base, _, toned in LISTING for key in (base, *(_toned(base, t) for t in TONES if toned)))


def _package(path: Path, style: str, folder: str, keys: list[str]) -> Download:
    with tarfile.open(path, "w:gz") as archive:

        def add(name: str, content: bytes) -> None:
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))

        for key in keys:
            content = io.BytesIO()
            _picture(style, key).save(content, "webp" if style == "fluent" else "png", lossless=True)
            add(f"{folder}/{key}.{'webp' if style == 'fluent' else 'png'}", content.getvalue())
        add(f"package/img/{style}/sheets/64.png", b"another picture")
        add("package/emoji.json", json.dumps(_listing()).encode())
    raw = path.read_bytes()
    integrity = "sha512-" + base64.b64encode(hashlib.sha512(raw).digest()).decode()
    return Download(path.as_uri(), integrity, len(raw))


@pytest.fixture
def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Packages in a folder that stands for the registry; Fluent lacks the flag. The cache is empty."""
    folder = tmp_path / "registry"
    folder.mkdir()
    packages = {}
    for style, package in module._PACKAGES.items():
        keys = [key for key in KEYS if style != "fluent" or key != "1f1e9-1f1ea"]
        file = _package(folder / f"{style}.tgz", style, package.folder, keys)
        packages[style] = replace(package, file=file)
    monkeypatch.setattr(module, "_PACKAGES", packages)
    monkeypatch.setenv("FASTGAN_DATA", str(tmp_path / "cache"))
    return folder


def test_images_are_paired_by_key_and_on_white(registry: Path) -> None:
    assert module.fetch_emoji() == module.find_emoji()
    both = [open_emoji(split=split, image_size=64) for split in ("train", "test")]
    assert sorted(key for data in both for key in data.keys) == KEYS
    for data in both:
        assert data.domains == ("twitter", "google") and data.images.dtype == torch.uint8
        for style, images in zip(data.domains, data.images, strict=True):
            for key, image in zip(data.keys, images, strict=True):
                assert image[:, :32].flatten(1).unique(dim=1).T.tolist() == [list(_colour(style, key))]
                assert (image[:, 32:] == 255).all()
            ordered = data.domain(style).batch(torch.arange(len(data)))
            assert torch.equal(ordered[0], images)
            assert ordered[1] is not None
            for key, label in zip(data.keys, ordered[1].tolist(), strict=True):
                category = next(
                    c
                    for base, c, _ in LISTING
                    if base.lower() in (key, key.replace("-1f3fb", ""), key.replace("-1f3fc", ""))
                )
                assert data.classes[label] == category.replace("Component", "Symbols")


def test_split_keeps_variants_together(registry: Path) -> None:
    module.fetch_emoji()
    train, test = (open_emoji(split=split) for split in ("train", "test"))
    assert len(train) and len(test) and not set(train.keys) & set(test.keys)
    assert len({module._held_out(key) for key in KEYS if key.startswith("1f44b")}) == 1
    assert len({module._held_out(key) for key in KEYS if key.endswith("1f52c")}) == 1
    assert test.domain("google").num_classes == len(test.classes) == len(train.classes)


def test_a_tenth_is_held_out() -> None:
    share = sum(module._held_out(f"{i:x}") for i in range(5000)) / 5000
    assert abs(share - 26 / 256) < 0.02


def test_styles_as_domains(registry: Path) -> None:
    module.fetch_emoji()
    data = open_emoji(("fluent", "twitter", "google"), image_size=64)
    assert "1f1e9-1f1ea" not in data.keys and not any("1f3fb-" in key or "-1f3fb" in key for key in data.keys)
    images, labels = data.by_domain().batch(torch.arange(3 * len(data)))
    assert labels is not None and labels.bincount().tolist() == [len(data)] * 3
    assert torch.equal(images[labels == 2], data.images[2])
    assert images[0, :, 0, 0].tolist() == list(_colour("fluent", data.keys[0]))


@pytest.mark.parametrize(
    ("name", "num_classes"), [("emoji", 5), ("emoji-twitter", 5), ("emoji-fluent", 5), ("emoji-styles", 3)]
)
def test_by_name(registry: Path, name: str, num_classes: int) -> None:
    with pytest.raises(DataError, match="get it with `fastgan data fetch emoji`"):
        open_data(name)
    module.fetch_emoji()
    data = open_data(name)
    assert (data.image_size, data.image_channels, data.num_classes) == (32, 3, num_classes)
    assert data.batch(torch.tensor([0]))[0].shape == (1, 3, 32, 32)


@pytest.mark.parametrize("damage", ["truncated", "changed", "missing"])
def test_damaged_download_is_noticed_and_leaves_nothing(registry: Path, tmp_path: Path, damage: str) -> None:
    package = registry / "google.tgz"
    raw = package.read_bytes()
    if damage == "missing":
        package.unlink()
    else:
        package.write_bytes(raw[:-1] if damage == "truncated" else raw[:100] + bytes([raw[100] ^ 1]) + raw[101:])
    message = "cannot be downloaded" if damage == "missing" else f"arrived damaged .* expected {len(raw):,} bytes"
    with pytest.raises(DataError, match=message) as error:
        module.fetch_emoji()
    assert package.as_uri() in str(error.value)
    assert not list((tmp_path / "cache").iterdir())


def test_damaged_file_in_the_cache_is_noticed_and_made_anew(registry: Path) -> None:
    path = module.fetch_emoji()
    raw = bytearray(path.read_bytes())
    raw[raw.index(b"twitter.npy") + 200] ^= 255
    path.write_bytes(raw)
    with pytest.raises(DataError, match=r"emoji-16\.0\.0\.npz: damaged"):
        open_emoji()
    module.fetch_emoji()
    assert len(open_emoji())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"styles": ("apple",)}, "styles must be different ones of twitter, google, fluent, got apple"),
        ({"styles": ("google", "google")}, "different ones"),
        ({"styles": ()}, "different ones"),
        ({"split": "valid"}, "split must be train or test, got 'valid'"),
    ],
)
def test_wrong_arguments(arguments: dict, message: str) -> None:
    with pytest.raises(DataError, match=message):
        open_emoji(**arguments)


def test_unknown_domain(registry: Path) -> None:
    module.fetch_emoji()
    with pytest.raises(DataError, match="unknown domain 'fluent'; there are: twitter, google"):
        open_emoji().domain("fluent")
