"""Checkpoints in BigGAN-PyTorch's layout: names and shapes as its modules have them, and what its forwards compute."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from fastgan.models.biggan_checkpoint import load_discriminator, load_generator
from fastgan.models.layers import stock_layers

State = dict[str, Tensor]
#: Image size, unit of the widths, factors of the generator's and of the discriminator's blocks, and the places of
#: attention, at 16×16 and at 64×64; whether to load stock layers.
SIZES = [
    pytest.param(32, 2, (4, 4, 4, 4), (4, 4, 4, 4), (1, 0), False, id="32"),
    pytest.param(32, 2, (4, 4, 4, 4), (4, 4, 4, 4), (1, 0), True, id="32-stock"),
    pytest.param(128, 8, (16, 16, 8, 4, 2, 1), (1, 2, 4, 8, 16, 16), (3, 0), False, id="128"),
]


def _normed(state: State, name: str, *shape: int, bias: bool = True) -> None:
    state[f"{name}.weight"] = torch.randn(shape) / torch.Size(shape[1:]).numel() ** 0.5
    if bias:
        state[f"{name}.bias"] = torch.randn(shape[0]) / 4
    state[f"{name}.u0"] = F.normalize(torch.randn(1, shape[0]), dim=1)
    state[f"{name}.sv0"] = torch.ones(1)


def _attention(state: State, name: str, width: int) -> None:
    state[f"{name}.gamma"] = torch.tensor(0.7)
    for part, *shape in (("theta", width // 8, width), ("phi", width // 8, width), ("g", width // 2, width)):
        _normed(state, f"{name}.{part}", *shape, 1, 1, bias=False)
    _normed(state, f"{name}.o", width, width // 2, 1, 1, bias=False)


def _statistics(state: State, name: str, width: int) -> None:
    state[f"{name}.stored_mean"] = torch.randn(width) / 4
    state[f"{name}.stored_var"] = torch.rand(width) + 0.5


def _generator_state(widths: list[int], attention: int, *, classes: int = 5, shared: int = 6, chunk: int = 3) -> State:
    state = {"shared.weight": torch.randn(classes, shared)}
    _normed(state, "linear", 16 * widths[0], chunk)
    for i, (n_in, n_out) in enumerate(pairwise(widths)):
        _normed(state, f"blocks.{i}.0.conv1", n_out, n_in, 3, 3)
        _normed(state, f"blocks.{i}.0.conv2", n_out, n_out, 3, 3)
        _normed(state, f"blocks.{i}.0.conv_sc", n_out, n_in, 1, 1)
        for norm, width in (("bn1", n_in), ("bn2", n_out)):
            _statistics(state, f"blocks.{i}.0.{norm}", width)
            for part in ("gain", "bias"):
                _normed(state, f"blocks.{i}.0.{norm}.{part}", width, shared + chunk, bias=False)
        if i == attention:
            _attention(state, f"blocks.{i}.1", n_out)
    state["output_layer.0.gain"], state["output_layer.0.bias"] = torch.rand(widths[-1]) + 0.5, torch.randn(widths[-1])
    _statistics(state, "output_layer.0", widths[-1])
    _normed(state, "output_layer.2", 3, widths[-1], 3, 3)
    return state


def _discriminator_state(widths: list[int], downs: int, attention: int, *, classes: int = 5) -> State:
    state: State = {}
    for i, (n_in, n_out) in enumerate(pairwise([3, *widths])):
        _normed(state, f"blocks.{i}.0.conv1", n_out, n_in, 3, 3)
        _normed(state, f"blocks.{i}.0.conv2", n_out, n_out, 3, 3)
        if i < downs or n_in != n_out:
            _normed(state, f"blocks.{i}.0.conv_sc", n_out, n_in, 1, 1)
        if i == attention:
            _attention(state, f"blocks.{i}.1", n_out)
    _normed(state, "linear", 1, widths[-1])
    _normed(state, "embed", classes, widths[-1], bias=False)
    return state


def _weight(state: State, name: str) -> Tensor:
    """In evaluation: one power iteration from the stored u, and the quotient it gives."""
    matrix = state[f"{name}.weight"].flatten(1)
    v = F.normalize(state[f"{name}.u0"] @ matrix)
    u = F.normalize(v @ matrix.mT)
    return state[f"{name}.weight"] / (v @ matrix.mT @ u.mT).squeeze()


def _conv(state: State, name: str, x: Tensor) -> Tensor:
    weight = _weight(state, name)
    return F.conv2d(x, weight, state.get(f"{name}.bias"), padding=weight.shape[2] // 2)


def _attend(state: State, name: str, x: Tensor) -> Tensor:
    query = _conv(state, f"{name}.theta", x).flatten(2)
    key, value = (F.max_pool2d(_conv(state, f"{name}.{part}", x), 2).flatten(2) for part in ("phi", "g"))
    weights = torch.softmax(query.mT @ key, -1)
    return x + state[f"{name}.gamma"] * _conv(state, f"{name}.o", (value @ weights.mT).unflatten(2, x.shape[2:]))


def _norm(state: State, name: str, x: Tensor, y: Tensor) -> Tensor:
    normed = F.batch_norm(x, state[f"{name}.stored_mean"], state[f"{name}.stored_var"])
    gain, bias = (F.linear(y, _weight(state, f"{name}.{part}"))[..., None, None] for part in ("gain", "bias"))
    return F.relu(normed * (1 + gain) + bias)


def _generate(state: State, z: Tensor, labels: Tensor, chunk: int = 3) -> Tensor:
    first, *others = z.split(chunk, 1)
    y = state["shared.weight"][labels]
    x = F.linear(first, _weight(state, "linear"), state["linear.bias"]).view(len(z), -1, 4, 4)
    for i, other in enumerate(others):
        name, condition = f"blocks.{i}.0", torch.cat([y, other], 1)
        h = _conv(state, f"{name}.conv1", F.interpolate(_norm(state, f"{name}.bn1", x, condition), scale_factor=2))
        h = _conv(state, f"{name}.conv2", _norm(state, f"{name}.bn2", h, condition))
        x = h + _conv(state, f"{name}.conv_sc", F.interpolate(x, scale_factor=2))
        if f"blocks.{i}.1.gamma" in state:
            x = _attend(state, f"blocks.{i}.1", x)
    norm = [state[f"output_layer.0.{part}"] for part in ("stored_mean", "stored_var", "gain", "bias")]
    return torch.tanh(_conv(state, "output_layer.2", F.relu(F.batch_norm(x, *norm))))


def _judge(state: State, x: Tensor, labels: Tensor, blocks: int, downs: int) -> Tensor:
    for i in range(blocks):
        name = f"blocks.{i}.0"
        h = _conv(state, f"{name}.conv2", F.relu(_conv(state, f"{name}.conv1", F.relu(x) if i else x)))
        if f"{name}.conv_sc.weight" in state:
            x = _conv(state, f"{name}.conv_sc", x)
        x = F.avg_pool2d(h, 2) + F.avg_pool2d(x, 2) if i < downs else h + x
        if f"blocks.{i}.1.gamma" in state:
            x = _attend(state, f"blocks.{i}.1", x)
    h = F.relu(x).sum((2, 3))
    linear = F.linear(h, _weight(state, "linear"), state["linear.bias"])[:, 0]
    return linear + (_weight(state, "embed")[labels] * h).sum(1)


@pytest.fixture(autouse=True)
def _exact() -> object:
    torch.set_default_dtype(torch.float64)
    torch.manual_seed(0)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.mark.parametrize(("size", "channels", "factors", "d_factors", "attention", "stock"), SIZES)
def test_networks_compute_what_the_saved_ones_do(
    size: int,
    channels: int,
    factors: tuple[int, ...],
    d_factors: tuple[int, ...],
    attention: tuple[int, int],
    stock: bool,
    tmp_path: Path,
) -> None:
    layers = stock_layers() if stock else None
    state = _generator_state([channels * factor for factor in factors], attention[0])
    torch.save(state, tmp_path / "G_ema.pth")
    z, labels = torch.randn(2, 3 * len(factors)), torch.tensor([4, 0])
    images = load_generator(tmp_path / "G_ema.pth", layers)(z, labels)
    assert images.shape == (2, 3, size, size)
    torch.testing.assert_close(images, _generate(state, z, labels), rtol=1e-9, atol=1e-9)

    downs = 2 if size == 32 else len(d_factors) - 1
    state = _discriminator_state([channels * factor for factor in d_factors], downs, attention[1])
    torch.save(state, tmp_path / "D.pth")
    logits = load_discriminator(tmp_path / "D.pth", layers)(images, labels)
    torch.testing.assert_close(logits, _judge(state, images, labels, len(d_factors), downs), rtol=1e-9, atol=1e-9)


def test_what_does_not_fit_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "G.pth"

    def refused(state: object, match: str, error: type[Exception] = ValueError) -> None:
        torch.save(state, path)
        with pytest.raises(error, match=match):
            load_generator(path)

    state = _generator_state([8, 8, 8, 8], 1)
    refused([torch.zeros(1)], "must hold named tensors, got list")
    refused(_discriminator_state([8] * 4, 2, 0), "not a network of BigGAN-PyTorch's BigGAN.py, it has no shared.weight")
    without = {name: tensor for name, tensor in state.items() if name != "blocks.1.0.conv2.u0"}
    refused(without, "are not those of a BigGAN(.|\n)*blocks.1.conv2")
    refused(state | {"linear.weight": torch.zeros(128, 4)}, "blocks.0.0.bn1.gain.weight must have 10 columns")
    refused(state | {"blocks.4.0.conv1.bias": torch.zeros(8)}, "are not those of a BigGAN")
    refused(
        state | {"blocks.2.1.gamma": torch.ones(())},
        "attention at several sizes, after blocks 1, 2",
        NotImplementedError,
    )
    refused({0: torch.zeros(1)}, "must hold named tensors, got dict")
    refused({"a": Path("b")}, "Weights only load failed")  # nothing but tensors is unpickled
    for junk in (b"", b"no pickle at all", b"\x80\x02", b"PK\x03\x04 no archive"):
        path.write_bytes(junk)
        with pytest.raises(ValueError, match=r"G\.pth: not a file of tensors as torch\.save writes them"):
            load_generator(path)
    with pytest.raises(FileNotFoundError):
        load_generator(tmp_path / "none.pth")
