"""The FID Inception-v3, with random weights: structure and features are the published network's."""

from __future__ import annotations

import base64
import hashlib
import http.server
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from fastgan.data import DataError
from fastgan.data.fetch import Download, download
from fastgan.features import get
from fastgan.features.fetch import fetch_inception, find_inception, sha256
from fastgan.features.inception import OUTPUTS, InceptionV3, _Network
from fastgan.features.resize import resize
from tests.peers import peer


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file laid out as the published one, with random weights that keep activations and their differences alive."""
    random = torch.Generator().manual_seed(0)
    state = {}
    for name, tensor in _Network().state_dict().items():
        if name.endswith("num_batches_tracked"):
            continue
        fan_in = tensor[0].numel()
        value = torch.randn(tensor.shape, generator=random)
        if name.endswith(("bn.weight", "running_var")):
            value = 1 + 0.1 * value.abs()
        elif tensor.ndim > 1:
            value = value * (2 / fan_in) ** 0.5
        else:
            value = 0.1 * value
        state[name] = value
    path = tmp_path_factory.mktemp("weights") / "random.pth"
    torch.save(state, path)
    return path


def test_size_is_the_published_files() -> None:
    """It has 95,628,359 bytes: those of the tensors, and some 180 for each of them."""
    with torch.device("meta"):
        state = _Network().state_dict()
    tensors = [tensor for name, tensor in state.items() if not name.endswith("num_batches_tracked")]
    assert len(tensors) == 94 * 5 + 2
    assert 95_628_359 - 250 * len(tensors) < sum(4 * tensor.numel() for tensor in tensors) < 95_628_359


def test_features_are_torch_fidelitys(weights: Path) -> None:
    """Layer names and shapes (its strict loading refuses others), pools, resizing and every output."""
    extractor = peer("torch_fidelity.feature_extractor_inceptionv3").FeatureExtractorInceptionV3
    theirs = extractor("inception", list(OUTPUTS), feature_extractor_weights_path=str(weights))
    images = torch.randint(0, 256, (2, 3, 40, 53), dtype=torch.uint8)
    images[1, :2] //= 8
    expected = theirs(images)
    for output, features in zip(OUTPUTS, expected, strict=True):
        network = InceptionV3(weights, output, "legacy_tensorflow")
        result = network(images)
        assert result.shape == (2, network.dim) and result.dtype == torch.float32
        scale = features.std()
        assert (features[0] - features[1]).abs().max() > 0.1 * scale, "the images look the same to these weights"
        torch.testing.assert_close(result / scale, features / scale, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("mode", ["clean", "legacy_pytorch"])
def test_pixels_reach_the_network_as_published(weights: Path, mode: str) -> None:
    network = InceptionV3(weights, "64", mode)
    images = torch.randint(0, 256, (1, 3, 30, 20), dtype=torch.uint8)
    pixels = resize(images.float(), 299, mode)
    x = 2 * (pixels / 255) - 1 if mode == "legacy_pytorch" else (pixels - 128) / 128
    torch.testing.assert_close(network(images), network.network(x, 64), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(network(images.float() / 127.5 - 1), network(images), rtol=1e-4, atol=1e-4)


def test_logits_come_from_the_features(weights: Path) -> None:
    images = torch.randint(0, 256, (2, 1, 16, 16), dtype=torch.uint8)
    features, logits = InceptionV3(weights), get("logits_unbiased", weights)
    torch.testing.assert_close(features.logits(features(images)), logits(images), rtol=1e-4, atol=1e-3)
    with pytest.raises(NotImplementedError, match="Inception score"):
        InceptionV3(weights, "768").logits(torch.zeros(2, 768))


def test_title_says_whose_weights(weights: Path) -> None:
    network = get("inception-v3-192", weights, resize="legacy_tensorflow")
    digest = sha256(weights)[:8]
    assert network.title == f"Inception-v3 of random.pth ({digest}), 192 features, legacy_tensorflow resizing"
    assert get(192, weights).dim == network.dim == 192
    assert not any(parameter.requires_grad for parameter in network.parameters())


def test_random_numbers_do_not_move(weights: Path) -> None:
    before = torch.get_rng_state()
    InceptionV3(weights)
    assert torch.equal(before, torch.get_rng_state())


def test_missing_weights_say_how_to_get_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FASTGAN_DATA", str(tmp_path))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    with pytest.raises(FileNotFoundError, match=r"python -m fastgan\.features\.fetch"):
        get("inception-v3")
    # Where pytorch-fid and torch-fidelity keep the same file.
    for name in ("pt_inception-2015-12-05-6726825d.pth", "weights-inception-2015-12-05-6726825d.pth"):
        path = tmp_path / "hub" / "checkpoints" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
        assert find_inception() == path
        path.unlink()


@pytest.mark.parametrize("damage", ["text", "truncated", "name", "shape", "list"])
def test_other_weights_are_refused(weights: Path, tmp_path: Path, damage: str) -> None:
    path, state = tmp_path / "other.pth", torch.load(weights)
    if damage == "text":
        path.write_text("no weights")
    elif damage == "truncated":
        path.write_bytes(weights.read_bytes()[:100_000])
    else:
        if damage == "name":
            state["Mixed_9a.weight"] = torch.zeros(2)
        else:
            state["fc.bias"] = torch.zeros(1000)
        torch.save(list(state) if damage == "list" else state, path)
    expected = {"name": r"Mixed_9a\.weight must be absent, got \(2,\)", "shape": r"fc\.bias must be \(1008,\), got"}
    with pytest.raises(ValueError, match=rf"other\.pth: .*{expected.get(damage, 'not a file of')}"):
        InceptionV3(path)


def test_unknown_output_and_resize() -> None:
    with pytest.raises(ValueError, match="unknown output '1024'; there are: 64, 192"):
        InceptionV3(output="1024")
    with pytest.raises(ValueError, match="unknown resize 'lanczos'; there are: clean"):
        InceptionV3(resize="lanczos")


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    """A web server of one file, ``/file``."""

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, directory=str(tmp_path / "served"), **kwargs)

        def log_message(self, *args: Any) -> None:
            pass

    (tmp_path / "served").mkdir()
    (tmp_path / "served" / "file").write_bytes(b"published")
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as httpd:
        thread = threading.Thread(target=httpd.serve_forever, args=(0.05,))
        thread.start()
        yield f"http://127.0.0.1:{httpd.server_port}"
        httpd.shutdown()
        thread.join()


def _file(url: str, content: bytes) -> Download:
    return Download(url, f"sha256-{base64.b64encode(hashlib.sha256(content).digest()).decode()}", len(content))


def test_download_is_the_published_file_or_absent(server: str, tmp_path: Path) -> None:
    path = tmp_path / "cache" / "file"
    with pytest.raises(DataError, match=r"weights: .*another file: expected 5 bytes with sha256-.*, got 9 bytes with"):
        download("weights", _file(f"{server}/file", b"other"), path)
    with pytest.raises(DataError, match=r"weights: .* cannot be downloaded \(.*404"):
        download("weights", _file(f"{server}/none", b"published"), path)
    assert not list(path.parent.iterdir())
    download("weights", _file(f"{server}/file", b"published"), path)
    assert path.read_bytes() == b"published" and list(path.parent.iterdir()) == [path]


def test_weights_are_fetched_once(server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FASTGAN_DATA", str(tmp_path / "cache"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr("fastgan.features.fetch._INCEPTION", _file(f"{server}/file", b"published"))
    path = fetch_inception()
    assert path == tmp_path / "cache" / "features" / "file" and path.read_bytes() == b"published"
    (tmp_path / "served" / "file").unlink()
    assert fetch_inception() == path
