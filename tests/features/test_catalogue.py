"""Finding feature networks: names, modules, timm's models."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fastgan.features import FeatureNetwork, get
from fastgan.features.efficientnet import EfficientNetLite0


def test_packaged_network_by_name() -> None:
    network = get("efficientnet-lite0")
    assert isinstance(network, EfficientNetLite0)
    assert (network.dim, network.title) == (1280, "EfficientNet-Lite0 at 64 px")
    assert get(network) is network


def test_bytes_and_floats_are_the_same_image() -> None:
    network = get("efficientnet-lite0")
    images = torch.randint(0, 256, (2, 1, 28, 30), dtype=torch.uint8)
    expected = network(images)
    torch.testing.assert_close(network(images.float() / 127.5 - 1), expected, rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(network.logits(expected), network.network._fc(expected))


@pytest.mark.parametrize("name", ["inception", "timm:", "inception-v3-100", 1024, "resnet50"])
def test_unknown_name_lists_what_exists(name: str | int) -> None:
    with pytest.raises(ValueError, match=rf"unknown features {name!r}; there are: efficientnet-lite0; inception-v3; "):
        get(name)


class _Means(nn.Module):
    """Channel means of bytes: a feature network of a user's."""

    def forward(self, images: Tensor) -> Tensor:
        assert images.dtype == torch.uint8
        return torch.cat([images.double().mean((2, 3)), torch.full((len(images), 1), float(self.training))], 1)


def test_module_is_wrapped() -> None:
    network = get(_Means())
    assert isinstance(network, FeatureNetwork) and (network.dim, network.title) == (4, "_Means")
    images = torch.randint(0, 256, (5, 3, 8, 8), dtype=torch.uint8)
    network.train()
    assert torch.equal(network(images)[:, :3], images.double().mean((2, 3))), "images come as they are"
    assert not network(images)[:, 3].any(), "it must stay in evaluation mode"
    with pytest.raises(NotImplementedError, match="_Means: has no classes"):
        network.logits(network(images))


def test_what_a_module_says_of_itself() -> None:
    module = nn.Linear(3, 2)
    module.dim, module.title = 2, "a projection"  # type: ignore[assignment]
    network = get(module)
    assert (network.dim, network.title) == (2, "a projection")
    with pytest.raises(ValueError, match=r"Linear does not take a uint8 image .* attribute dim"):
        get(nn.Linear(3, 2))
    with pytest.raises(ValueError, match=r"Identity.* features must be \[1, d\] for 1 images, got \(1, 3, 299, 299\)"):
        get(nn.Identity())
    with pytest.raises(ValueError, match="a module has its own weights"):
        get(_Means(), "file.pth")


@pytest.mark.parametrize(
    ("images", "error", "message"),
    [
        (torch.zeros(1, 3, 8, 8, dtype=torch.int64), TypeError, "must be uint8 .* got torch.int64"),
        (torch.full((1, 3, 8, 8), 255.0), ValueError, r"must be in \[-1, 1\], got 255"),
        (torch.zeros(3, 8, 8), ValueError, r"must be \[N, 1 or 3, H, W\], got \(3, 8, 8\)"),
        (torch.zeros(1, 3, 0, 8), ValueError, "must be"),
    ],
)
def test_bad_images_are_named(images: Tensor, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=f"EfficientNetLite0: .*{message}"):
        EfficientNetLite0(32)(images)


def _stand_in_for_timm(monkeypatch: pytest.MonkeyPatch, calls: list[dict[str, Any]]) -> None:
    """The two functions of timm that are used; its own import needs torchvision."""

    def create_model(name: str, **options: Any) -> nn.Module:
        if name != "tiny":
            raise RuntimeError(f"Unknown model ({name})")
        calls.append(options)
        network = nn.Sequential(nn.Flatten(), nn.Linear(3 * 12 * 10, 7), nn.Dropout())
        network.num_features = 7  # type: ignore[assignment]
        return network

    timm, data = ModuleType("timm"), ModuleType("timm.data")
    timm.create_model = create_model  # type: ignore[attr-defined]
    data.resolve_model_data_config = lambda network: {  # type: ignore[attr-defined]
        "input_size": (3, 12, 10), "interpolation": "bilinear", "mean": (0.5, 0.4, 0.3), "std": (0.2, 0.3, 0.4),
    }  # fmt: skip
    monkeypatch.setitem(sys.modules, "timm", timm)
    monkeypatch.setitem(sys.modules, "timm.data", data)


def test_timm_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[dict[str, Any]] = []
    _stand_in_for_timm(monkeypatch, calls)
    before = torch.get_rng_state()
    network = get("timm:tiny")
    assert torch.equal(before, torch.get_rng_state())
    assert calls == [{"pretrained": True, "num_classes": 0}]
    assert (network.dim, network.title) == (7, "timm's tiny at 12x10 px")
    images = torch.randint(0, 256, (4, 1, 24, 30), dtype=torch.uint8)
    resized = F.interpolate(images.double().expand(-1, 3, -1, -1) / 255, (12, 10), mode="bilinear", antialias=True)
    mean, std = (torch.tensor(v, dtype=torch.float64).view(3, 1, 1) for v in ((0.5, 0.4, 0.3), (0.2, 0.3, 0.4)))
    linear = network.network[1]  # type: ignore[index]
    expected = ((resized - mean) / std).flatten(1).float() @ linear.weight.T + linear.bias
    torch.testing.assert_close(network(images), expected, rtol=1e-4, atol=1e-4)
    weights = tmp_path / "mine.pth"
    with pytest.raises(FileNotFoundError, match=r"timm:tiny: no weights at .*mine\.pth"):
        get("timm:tiny", weights)
    weights.touch()
    assert get("timm:tiny", weights).title == "timm's tiny of mine.pth at 12x10 px"
    assert calls[1]["pretrained_cfg_overlay"] == {"file": str(weights)}
    with pytest.raises(ValueError, match=r"features timm:huge: Unknown model \(huge\)"):
        get("timm:huge")


def test_timm_is_not_needed_until_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(ImportError, match="timm:resnet18 need timm and torchvision: pip install timm"):
        get("timm:resnet18")
