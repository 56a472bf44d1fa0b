"""SNConv2d and its siblings: torch's layers under torch's spectral norm, whether weight / sigma is written or not."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrizations, parametrize

from fastgan import nn as fast_nn
from fastgan.nn import spectral
from tests.nn.spectral_networks import Discriminator, assert_equal_weights, train

#: Each with the shape of an input; where a layer folds, no larger than the weight.
LAYERS: dict[str, tuple[str, tuple[Any, ...], dict[str, Any], tuple[int, ...]]] = {
    "conv1d": ("Conv1d", (6, 8, 5), {"padding": 2}, (1, 6, 7)),
    "conv2d": ("Conv2d", (6, 8, 3), {"padding": 1}, (2, 6, 5, 6)),
    "conv2d-strided": ("Conv2d", (6, 8, 4, 2, 1), {"bias": False}, (2, 6, 6, 6)),
    "conv2d-grouped": ("Conv2d", (8, 8, 3), {"groups": 2, "dilation": (2, 1), "padding": (2, 0)}, (1, 8, 5, 7)),
    "conv2d-same": ("Conv2d", (6, 8, 3), {"padding": "same"}, (2, 6, 5, 6)),
    "conv2d-circular": ("Conv2d", (6, 8, 3), {"padding": 1, "padding_mode": "circular"}, (2, 6, 5, 6)),
    "conv2d-unbatched": ("Conv2d", (6, 8, 3), {"padding": 1}, (6, 5, 6)),
    "conv2d-large-input": ("Conv2d", (2, 3, 3), {"padding": 1}, (4, 2, 9, 9)),
    "conv3d": ("Conv3d", (3, 4, 3), {"padding": 1}, (1, 3, 3, 4, 4)),
    "transposed": ("ConvTranspose2d", (6, 8, 4, 2, 1), {}, (2, 6, 5, 5)),
    "transposed-output-padding": ("ConvTranspose2d", (6, 4, 3, 2, 1, 1), {"groups": 2}, (1, 6, 3, 3)),
    "linear": ("Linear", (12, 9), {}, (2, 3, 12)),
    "linear-vector": ("Linear", (12, 9), {"bias": False}, (12,)),
}


@pytest.fixture(params=[1, 1 << 30], ids=["folded", "written"])
def _folding(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[bool]:
    monkeypatch.setattr(spectral, "FOLDED_ELEMENTS", request.param)
    yield request.param == 1


def pair(name: str, dtype: torch.dtype = torch.float64) -> tuple[nn.Module, nn.Module, Tensor]:
    """Our layer, torch's under its parametrisation, from the same seed, and an input."""
    kind, args, options, shape = LAYERS[name]
    torch.manual_seed(0)
    ours = getattr(fast_nn, "SN" + kind)(*args, **options, dtype=dtype)
    torch.manual_seed(0)
    stock = parametrizations.spectral_norm(getattr(nn, kind)(*args, **options, dtype=dtype))
    return ours, stock, torch.randn(shape, dtype=dtype)


@pytest.mark.parametrize("name", LAYERS)
def test_equals_torch_to_the_second_derivative(name: str, _folding: bool) -> None:
    ours, stock, x = pair(name)
    assert ours.state_dict().keys() == stock.state_dict().keys()
    results = []
    for layer in (ours, stock):
        torch.manual_seed(1)
        points = x.clone().requires_grad_()
        found = []
        for _ in range(2):  # each forward is an iteration
            y = layer(points)
            gradients = torch.autograd.grad(y.square().sum(), [points, *layer.parameters()], create_graph=True)
            penalty = sum((g * torch.randn_like(g)).sum() for g in gradients)
            found += [y, *gradients, *torch.autograd.grad(penalty, [points, *layer.parameters()], allow_unused=True)]
        results.append([*found, *layer.state_dict().values(), layer.eval()(points)])
    for a, e in zip(*results, strict=True):
        assert (a is None) == (e is None)
        if e is not None:
            torch.testing.assert_close(a, e, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("name", ["conv2d", "transposed", "linear"])
def test_first_derivatives_in_float32(name: str, _folding: bool) -> None:
    ours, stock, x = pair(name, torch.float32)
    exact = copy.deepcopy(stock).double()
    results = []
    for layer, points in ((ours, x), (exact, x.double())):
        points = points.clone().requires_grad_()
        y = layer(points)
        results.append([y, *torch.autograd.grad(y.square().sum(), [points, *layer.parameters()])])
    for a, e in zip(*results, strict=True):
        assert (a.double() - e).abs().max() <= 3e-6 * max(1.0, e.abs().max().item())


@pytest.mark.parametrize("name", LAYERS)
def test_folds_where_it_can(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise the tests above would compare torch's convolution with itself."""
    monkeypatch.setattr(spectral, "FOLDED_ELEMENTS", 1)
    ours, _, x = pair(name)
    calls = []
    for function in ("spectral_conv", "spectral_linear"):
        original = getattr(spectral.functional, function)
        monkeypatch.setattr(
            spectral.functional, function, lambda *a, f=original, **k: calls.append(f.__name__) or f(*a, **k)
        )
    ours(x)
    cannot = ("conv2d-same", "conv2d-circular", "conv2d-large-input")
    assert len(calls) == (name not in cannot)


def test_output_size(_folding: bool) -> None:
    ours, stock, x = pair("transposed")
    torch.testing.assert_close(ours(x, [11, 11]), stock(x, [11, 11]))


@pytest.mark.parametrize(
    "options",
    [{}, {"padding_idx": 2}, {"scale_grad_by_freq": True}, {"sparse": True}, {"sparse": True, "padding_idx": 2}],
    ids=str,
)
def test_embedding(options: dict[str, Any]) -> None:
    torch.manual_seed(0)
    ours = fast_nn.SNEmbedding(7, 5, **options, dtype=torch.float64)
    torch.manual_seed(0)
    stock = parametrizations.spectral_norm(nn.Embedding(7, 5, **{**options, "sparse": False}, dtype=torch.float64))
    for layer in (ours, stock):  # a row at padding_idx too, which starts as zeros
        nn.init.uniform_(layer.parametrizations.weight.original, generator=torch.Generator().manual_seed(1))
    indices = torch.tensor([[0, 2, 2], [6, 2, 1]])
    results = []
    for layer in (ours, stock):
        y = layer(indices)
        y.square().sum().backward()
        results.append(
            [y, layer.parametrizations.weight.original.grad.to_dense(), *layer.buffers(), layer.eval()(indices)]
        )
    for a, e in zip(*results, strict=True):
        torch.testing.assert_close(a, e, rtol=1e-12, atol=1e-12)


def test_embedding_never_writes_the_divided_weight(monkeypatch: pytest.MonkeyPatch) -> None:
    embedding = fast_nn.SNEmbedding(7, 5)
    monkeypatch.setattr(type(embedding.parametrizations.weight[0]), "forward", None)
    embedding(torch.tensor([1]))


@pytest.mark.usefixtures("_folding")
def test_trains_as_torch() -> None:
    torch.set_default_dtype(torch.float64)
    try:
        assert_equal_weights(train(Discriminator("layers")), train(Discriminator("torch")))
    finally:
        torch.set_default_dtype(torch.float32)


def test_a_penalty_asks_for_no_weight_gradient(monkeypatch: pytest.MonkeyPatch) -> None:
    """autograd.grad with respect to the input alone, as in a gradient penalty: one product, not two."""
    monkeypatch.setattr(spectral, "FOLDED_ELEMENTS", 1)
    ours, _, x = pair("conv2d")
    masks = []
    from fastgan.ops import spectral_conv as op

    original = op.layer_backward
    monkeypatch.setattr(op, "layer_backward", lambda *args: masks.append(args[-1]) or original(*args))
    points = x.requires_grad_()
    torch.autograd.grad(ours(points).sum(), points, create_graph=True)
    assert masks == [[True, False, False]]


def test_autocast_half_and_cached(_folding: bool) -> None:
    ours, stock, x = pair("conv2d", torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        assert ours(x).dtype == torch.bfloat16
    half = copy.deepcopy(ours).bfloat16()
    y = half(x.bfloat16())
    y.sum().backward()
    assert y.dtype == half.parametrizations.weight.original.grad.dtype == torch.bfloat16
    ours, stock, x = pair("conv2d")
    for layer in (ours, stock):
        with parametrize.cached():
            layer(x), layer(x)  # one access between the two, so one iteration
    assert_equal_weights(ours.state_dict(), stock.state_dict(), 1e-12)


def test_removal_and_options() -> None:
    ours, _, x = pair("conv2d")
    y = ours.eval()(x)
    parametrize.remove_parametrizations(ours, "weight")
    assert type(ours) is fast_nn.SNConv2d and isinstance(ours.weight, nn.Parameter)
    torch.testing.assert_close(ours(x), y)
    exact = fast_nn.SNLinear(6, 5, exact=True, dtype=torch.float64)
    assert abs(torch.linalg.matrix_norm(exact.weight, 2).item() - 1) < 1e-12
    assert fast_nn.SNLinear(6, 5, n_power_iterations=3).parametrizations.weight[0].n_power_iterations == 3
    hooked, layer = nn.utils.spectral_norm(nn.Linear(6, 5)), fast_nn.SNLinear(6, 5, v_first=True)
    layer.load_state_dict(hooked.state_dict())
    x = torch.randn(2, 6)
    torch.testing.assert_close(layer(x), hooked(x))


def test_two_forwards_and_an_in_place_rectifier() -> None:
    """Two forwards before one backward, in-place rectifier behind the layer."""
    ours, stock, x = pair("conv2d")
    for layer in (ours, stock):
        (F.relu(layer(x), inplace=True) - F.relu(layer(2 * x), inplace=True)).square().sum().backward()
    for p, q in zip(ours.parameters(), stock.parameters(), strict=True):
        torch.testing.assert_close(p.grad, q.grad, rtol=1e-10, atol=1e-10)


def test_backward_inside_of_autocast(monkeypatch: pytest.MonkeyPatch) -> None:
    """A backward runs in the dtypes of its forward, wherever it is called."""
    monkeypatch.setattr(spectral, "FOLDED_ELEMENTS", 1)
    ours, _, x = pair("linear", torch.float32)
    results = []
    for inside in (False, True):
        for create_graph in (False, True):
            points = x.clone().requires_grad_()
            y = ours.eval()(points).square().sum()
            with torch.autocast("cpu", torch.bfloat16, enabled=inside):
                results.append(torch.autograd.grad(y, [points, *ours.parameters()], create_graph=create_graph))
    for a, e in zip(results[2] + results[3], results[0] + results[1], strict=True):
        assert a.dtype == torch.float32
        torch.testing.assert_close(a, e)


def test_keyword_arguments(_folding: bool) -> None:
    ours, stock, x = pair("transposed")
    torch.testing.assert_close(ours(input=x, output_size=[11, 11]), stock(input=x, output_size=[11, 11]))
    torch.testing.assert_close(ours(input=x), stock(input=x))
