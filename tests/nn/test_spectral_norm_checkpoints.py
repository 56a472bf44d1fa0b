"""Spectral norm loads checkpoints of torch's older hook and of BigGAN-PyTorch's layers."""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrizations, parametrize

from fastgan.nn.utils import spectral_norm
from tests.tolerances import assert_close

hook_spectral_norm = torch.nn.utils.spectral_norm


class BigGANNorm(nn.Module):
    """A layer with spectral norm as in BigGAN-PyTorch: its buffers, and its forward in both modes.

    Of the left vectors only u is kept, as a row; v follows from it in each forward, v = u W / ‖u W‖, and then
    u' = v Wᵀ / ‖v Wᵀ‖ and σ = (v Wᵀ) · u'. Training stores u' and σ, evaluation stores nothing.
    """

    def __init__(
        self, inner: nn.Module, call: Callable[[Tensor, Tensor, Tensor | None], Tensor], vectors: int = 1
    ) -> None:
        super().__init__()
        self.weight, self.bias, self.call = inner.weight, getattr(inner, "bias", None), call
        for i in range(vectors):
            self.register_buffer(f"u{i}", torch.randn(1, self.weight.shape[0], dtype=self.weight.dtype))
            self.register_buffer(f"sv{i}", torch.ones(1, dtype=self.weight.dtype))

    def forward(self, x: Tensor) -> Tensor:
        matrix = self.weight.flatten(1)
        with torch.no_grad():
            v = F.normalize(self.u0 @ matrix, eps=1e-12)
            u = F.normalize(v @ matrix.mT, eps=1e-12)
        sigma = (v @ matrix.mT @ u.mT).squeeze()
        if self.training:
            with torch.no_grad():
                self.u0.copy_(u)
                self.sv0.copy_(sigma)
        return self.call(x, self.weight / sigma, self.bias)


def _convolve(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    return F.conv2d(x, weight, bias, padding=1)


def _nested(first: nn.Module, second: nn.Module) -> nn.Sequential:
    """Both layers below other modules, with layers that have no spectral norm."""
    block = nn.Sequential(first, nn.LeakyReLU(0.2), nn.BatchNorm2d(4))
    return nn.Sequential(block, nn.Sequential(nn.Flatten(), second, nn.Linear(6, 2))).double()


def _plain(seed: int) -> tuple[nn.Module, nn.Module]:
    torch.manual_seed(seed)
    return nn.Conv2d(3, 4, 3, padding=1).double(), nn.Linear(4 * 16, 6).double()


def _ours(seed: int = 7, **options: Any) -> nn.Module:
    first, second = _plain(seed)
    return _nested(spectral_norm(first, **options), spectral_norm(second, **options))


def _hooked(seed: int = 0) -> nn.Module:
    first, second = _plain(seed)
    return _nested(hook_spectral_norm(first), hook_spectral_norm(second))


def _biggan(seed: int = 0) -> nn.Module:
    first, second = _plain(seed)
    return _nested(BigGANNorm(first, _convolve), BigGANNorm(second, F.linear))


def _images(seed: int = 0) -> Tensor:
    return torch.randn(5, 3, 4, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def _train(net: nn.Module, steps: int = 3) -> None:
    net.train()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    for step in range(steps):
        optimizer.zero_grad()
        net(_images(step)).square().mean().backward()
        optimizer.step()


def _without_v(net: nn.Module) -> dict[str, Tensor]:
    """The state as the first versions of torch's hook saved it: the normalised weight as a buffer, no v, no version."""
    old = {}
    for key, value in net.state_dict().items():
        if key.endswith("weight_v"):
            layer = net.get_submodule(key.removesuffix(".weight_v"))
            sigma = torch.dot(layer.weight_u, layer.weight_orig.detach().flatten(1) @ layer.weight_v)
            old[key.removesuffix("_v")] = layer.weight_orig.detach() / sigma
        else:
            old[key] = value
    return old


@pytest.fixture
def _messages(caplog: pytest.LogCaptureFixture) -> Callable[[], list[str]]:
    caplog.set_level(logging.INFO, logger="fastgan")

    def messages() -> list[str]:
        return [record.getMessage() for record in caplog.records if record.name == "fastgan"]

    return messages


@pytest.mark.parametrize("layout", ["hook", "hook-without-v", "biggan"])
@pytest.mark.parametrize("make_target", [_ours, lambda: copy.deepcopy(_ours())], ids=["module", "deepcopy"])
def test_evaluation_is_the_same(
    layout: str, make_target: Callable[[], nn.Module], _messages: Callable[[], list[str]]
) -> None:
    source = _biggan() if layout == "biggan" else _hooked()
    _train(source)
    state = source.state_dict()
    if layout == "hook-without-v":
        source(_images())  # for a u that is along W v
        state = _without_v(source)
    given, kept = dict(state), copy.deepcopy(dict(state))
    ours = make_target()
    assert ours.load_state_dict(state, strict=True) == ([], [])
    assert list(state) == list(given) == list(kept)
    assert all(state[key] is given[key] and torch.equal(state[key], kept[key]) for key in kept)

    assert_close(ours.eval()(_images()), source.eval()(_images()), torch.float64)
    assert torch.equal(ours[0][0].bias, source[0][0].bias) and torch.equal(ours[1][2].weight, source[1][2].weight)
    name = (
        "BigGAN-PyTorch (weight, u0)" if layout == "biggan" else "torch.nn.utils.spectral_norm (weight_orig, weight_u)"
    )
    assert _messages() == [
        f"spectral_norm: {key} was saved by {name}; converted" for key in ("0.0.weight", "1.1.weight")
    ]


def test_old_hook_states_load_as_into_torch_s_hook() -> None:
    source = _hooked()
    _train(source)
    source(_images())
    old = _without_v(source)
    theirs, ours = _hooked(seed=3), _ours()
    theirs.load_state_dict(old, strict=True)
    ours.load_state_dict(old, strict=True)
    for path in ("0.0", "1.1"):
        hooked, norm = theirs.get_submodule(path), ours.get_submodule(f"{path}.parametrizations.weight.0")
        assert_close(norm._u, hooked.weight_u, torch.float64)
        torch.testing.assert_close(norm._v, hooked.weight_v, rtol=1e-9, atol=1e-9)


def test_training_goes_on_as_the_hook_s() -> None:
    source = _hooked()
    _train(source)
    ours = _ours(v_first=True)
    ours.load_state_dict(source.state_dict(), strict=True)
    _train(source)
    _train(ours)
    for path in ("0.0", "1.1"):
        hooked, held = source.get_submodule(path), ours.get_submodule(f"{path}.parametrizations.weight")
        for actual, expected in (
            (held.original, hooked.weight_orig), (held[0]._u, hooked.weight_u), (held[0]._v, hooked.weight_v),
        ):  # fmt: skip
            torch.testing.assert_close(actual, expected, rtol=1e-9, atol=1e-9)


def test_training_goes_on_one_iteration_ahead_of_biggan_s() -> None:
    source = _biggan()
    _train(source)
    ours = _ours(v_first=True)
    ours.load_state_dict(source.state_dict(), strict=True)
    source.train()
    ours.train()
    first, second = source(_images()), source(_images())
    assert not torch.equal(first, second)
    assert_close(ours(_images()), second, torch.float64)


@pytest.mark.parametrize(
    ("make", "x"),
    [
        (lambda: nn.Linear(5, 7), torch.randn(2, 5)),
        (lambda: nn.Linear(7, 5), torch.randn(2, 7)),
        (lambda: nn.Conv1d(3, 4, 2), torch.randn(2, 3, 4)),
        (lambda: nn.ConvTranspose2d(3, 4, 3), torch.randn(2, 3, 4, 4)),
    ],
    ids=["linear-tall", "linear-wide", "conv1d", "conv_transpose2d"],
)
@pytest.mark.parametrize("with_v", [True, False])
def test_layers_of_the_hook(make: Callable[[], nn.Module], x: Tensor, with_v: bool) -> None:
    x = x.double()
    source, ours = hook_spectral_norm(make().double()), spectral_norm(make().double())
    source(x)
    state = dict(source.state_dict())
    if not with_v:
        state["weight"] = source.weight.detach()
        del state["weight_v"]
    ours.load_state_dict(state, strict=True)
    torch.testing.assert_close(ours.eval()(x), source.eval()(x), rtol=1e-12, atol=1e-12)


def test_vectors_and_other_names_of_the_hook() -> None:
    source, ours = nn.GRUCell(3, 4), nn.GRUCell(3, 4)
    for name in ("weight_hh", "bias_ih"):
        hook_spectral_norm(source, name)
        spectral_norm(ours, name)
    source(torch.randn(2, 3))
    ours.load_state_dict(source.state_dict(), strict=True)
    x, h = torch.randn(2, 3), torch.randn(2, 4)
    assert_close(ours.eval()(x, h), source.eval()(x, h), torch.float32)


def test_layers_of_biggan() -> None:
    embedding = nn.Embedding(10, 6)
    source = BigGANNorm(embedding, lambda x, weight, _: F.embedding(x, weight))
    ours = spectral_norm(nn.Embedding(10, 6))
    x = torch.arange(10)
    for _ in range(2):
        source(x)
    state = dict(source.state_dict())
    for keys in (state, {k: v for k, v in state.items() if k != "sv0"}):
        ours.load_state_dict(keys, strict=True)
        assert_close(ours.eval()(x), source.eval()(x), torch.float32)


@pytest.mark.parametrize("assign", [True, False])
def test_float32_into_a_half_module(assign: bool) -> None:
    source = BigGANNorm(nn.Linear(6, 4), F.linear)
    source(torch.randn(1, 6))
    ours = spectral_norm(nn.Linear(6, 4)).bfloat16().eval()
    ours.load_state_dict(source.state_dict(), strict=True, assign=assign)
    dtype = torch.float32 if assign else torch.bfloat16
    x = torch.randn(2, 6)
    assert ours.weight.dtype == ours.parametrizations.weight[0]._u.dtype == dtype
    assert_close(ours(x.to(dtype)), source.eval()(x), torch.bfloat16)


def test_several_singular_values_are_refused() -> None:
    ours = nn.ModuleDict({"layer": spectral_norm(nn.Linear(6, 4))})
    source = nn.ModuleDict({"layer": BigGANNorm(nn.Linear(6, 4), F.linear, vectors=2)})
    message = r"spectral_norm: layer\.weight must have one singular value to load from BigGAN's layout.*layer\.u1"
    for strict in (True, False):
        with pytest.raises(RuntimeError, match=message):
            ours.load_state_dict(source.state_dict(), strict=strict)


@pytest.mark.parametrize("layout", ["biggan", "hook-without-v"])
@pytest.mark.parametrize("u", [torch.ones(6), torch.ones(2, 4)], ids=["length", "shape"])
def test_u_of_another_shape(layout: str, u: Tensor) -> None:
    key = "u0" if layout == "biggan" else "weight_u"
    state = {"weight": torch.ones(4, 6), "bias": torch.ones(4), key: u}
    if layout == "hook-without-v":
        state["weight_orig"] = torch.ones(4, 6)
    with pytest.raises(
        RuntimeError, match=rf"spectral_norm: {key} must be \[4\] to match a weight \[4, 6\] with dim=0"
    ):
        spectral_norm(nn.Linear(6, 4)).load_state_dict(state)


def test_sizes_that_do_not_match_the_module() -> None:
    source = hook_spectral_norm(nn.Linear(6, 3))
    with pytest.raises(RuntimeError, match=r"size mismatch for parametrizations\.weight\.original"):
        spectral_norm(nn.Linear(6, 4)).load_state_dict(source.state_dict())
    with pytest.raises(RuntimeError, match=r"size mismatch for parametrizations\.weight\.0\._u"):
        spectral_norm(nn.Linear(6, 3), n_vectors=2).load_state_dict(source.state_dict())


def test_a_plain_weight_is_no_layout(_messages: Callable[[], list[str]]) -> None:
    ours = spectral_norm(nn.Linear(6, 4))
    before = copy.deepcopy(ours.state_dict())
    plain = nn.Linear(6, 4).state_dict()
    with pytest.raises(RuntimeError, match=r'Unexpected key\(s\) in state_dict: "weight"'):
        ours.load_state_dict(plain, strict=True)
    result = ours.load_state_dict(plain, strict=False)
    assert result.unexpected_keys == ["weight"] and "parametrizations.weight.original" in result.missing_keys
    for key, value in ours.state_dict().items():
        assert key == "bias" or torch.equal(value, before[key])
    assert _messages() == []


def test_own_states_are_not_converted(_messages: Callable[[], list[str]]) -> None:
    ours, stock = spectral_norm(nn.Linear(6, 4)), parametrizations.spectral_norm(nn.Linear(6, 4))
    for module in (ours, stock):
        module.register_buffer("u0", torch.ones(1, 4))  # somebody's own
    ours.load_state_dict(stock.state_dict(), strict=True)
    for key, value in stock.state_dict().items():
        assert torch.equal(ours.state_dict()[key], value)
    assert _messages() == []


def test_nothing_is_converted_after_removal() -> None:
    hooked = hook_spectral_norm(nn.Linear(6, 4))
    module = spectral_norm(nn.Linear(6, 4))
    parametrize.remove_parametrizations(module, "weight")
    plain = nn.Linear(6, 4)
    for target in (module, copy.deepcopy(module)):
        target.load_state_dict(plain.state_dict(), strict=True)
        assert torch.equal(target.weight, plain.weight)
        with pytest.raises(RuntimeError, match=r'Unexpected key\(s\) in state_dict: "weight_orig"'):
            target.load_state_dict(hooked.state_dict(), strict=True)
    parametrizations.weight_norm(module)
    module.load_state_dict(torch.nn.utils.weight_norm(plain).state_dict(), strict=True)
    with pytest.raises(RuntimeError, match=r'Unexpected key\(s\) in state_dict: "weight_orig"'):
        module.load_state_dict(hooked.state_dict(), strict=True)
    parametrize.remove_parametrizations(module, "weight")
    spectral_norm(module).load_state_dict(hooked.state_dict(), strict=True)
    assert torch.equal(module.parametrizations.weight.original, hooked.weight_orig)
