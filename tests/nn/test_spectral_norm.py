"""The spectral norm parametrisation as a replacement of torch's."""

from __future__ import annotations

import copy
import io
import pickle
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrizations, parametrize

from fastgan import functional
from fastgan.nn.utils import spectral_norm
from fastgan.nn.utils.spectral_norm import SpectralNorm
from fastgan.trainers.ema import Ema
from tests.tolerances import assert_close

stock_spectral_norm = parametrizations.spectral_norm

LAYERS: dict[str, tuple[Callable[[], nn.Module], str]] = {
    "linear": (lambda: nn.Linear(7, 5), "weight"),
    "linear-to-one": (lambda: nn.Linear(6, 1), "weight"),
    "embedding": (lambda: nn.Embedding(10, 6), "weight"),
    "bilinear": (lambda: nn.Bilinear(3, 4, 5), "weight"),
    "recurrent": (lambda: nn.GRUCell(3, 4), "weight_hh"),
    "conv1d": (lambda: nn.Conv1d(3, 4, 5), "weight"),
    "conv2d": (lambda: nn.Conv2d(3, 4, 3), "weight"),
    "conv2d-channels_last": (lambda: nn.Conv2d(3, 4, 3).to(memory_format=torch.channels_last), "weight"),
    "conv2d-grouped": (lambda: nn.Conv2d(4, 6, 3, groups=2), "weight"),
    "conv3d": (lambda: nn.Conv3d(2, 3, 2), "weight"),
    "conv_transpose1d": (lambda: nn.ConvTranspose1d(3, 4, 5), "weight"),
    "conv_transpose2d": (lambda: nn.ConvTranspose2d(3, 4, 3), "weight"),
    "conv_transpose3d": (lambda: nn.ConvTranspose3d(2, 3, 2), "weight"),
    "vector": (lambda: nn.Linear(3, 5), "bias"),
    "one": (lambda: nn.Linear(1, 1), "weight"),
    "no-inputs": (lambda: nn.Linear(0, 3), "weight"),
}


def _pair(make: Callable[[], nn.Module], name: str = "weight", **options: Any) -> tuple[nn.Module, nn.Module]:
    """The same module with torch's parametrisation and with ours, from the same seed, in float64."""
    modules = []
    for norm in (stock_spectral_norm, spectral_norm):
        torch.manual_seed(0)
        modules.append(norm(make().double(), name, **options))
    return modules[0], modules[1]


def _critic(norm: Callable[[nn.Module], nn.Module], seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(
        norm(nn.Conv2d(3, 6, 3, padding=1).double()),
        nn.LeakyReLU(0.2),
        norm(nn.ConvTranspose2d(6, 4, 4, stride=2).double()),
        nn.Tanh(),
        norm(nn.Conv2d(4, 5, 4, stride=3).double()),
        nn.Flatten(),
        norm(nn.Linear(5 * 3 * 3, 1).double()),
    )


def _images(count: int = 4, seed: int = 1) -> Tensor:
    return torch.randn(count, 3, 5, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def _assert_same_state(actual: nn.Module, expected: nn.Module) -> None:
    ours, theirs = actual.state_dict(), expected.state_dict()
    assert list(ours) == list(theirs)
    for key, value in theirs.items():
        assert_close(ours[key], value, value.dtype, key)


def _norms(module: nn.Module) -> list[SpectralNorm]:
    return [m for m in module.modules() if isinstance(m, SpectralNorm)]


# --- what torch's does


@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize("iterations", [1, 3])
def test_accesses_are_torch_s(layer: str, iterations: int) -> None:
    make, name = LAYERS[layer]
    stock, ours = _pair(make, name, n_power_iterations=iterations, eps=1e-6)
    _assert_same_state(ours, stock)
    # In two steps of two training accesses before the backward, an evaluation between them and one after.
    for _ in range(2):
        gradients = []
        for module in (stock, ours):
            torch.manual_seed(1)
            weights = [getattr(module.train(mode), name) for mode in (True, False, True, False)]
            loss = sum((torch.randn_like(weight) * weight).sum() for weight in weights)
            original = module.parametrizations[name].original
            gradients.append(torch.autograd.grad(loss, original)[0])
            with torch.no_grad():
                original -= 0.1 * gradients[-1]
            gradients[-1] = torch.cat([gradients[-1].flatten(), *(weight.flatten() for weight in weights)])
        assert_close(gradients[1], gradients[0], torch.float64)
        _assert_same_state(ours, stock)


@pytest.mark.parametrize("dim", [0, 1, 2, 3, -1, -4])
def test_dim(dim: int) -> None:
    stock, ours = _pair(lambda: nn.Conv2d(3, 4, (2, 5)), dim=dim)
    _assert_same_state(ours, stock)
    assert_close(ours.weight, stock.weight, torch.float64)
    _assert_same_state(ours, stock)


@pytest.mark.parametrize("options", [{}, {"v_first": True}, {"n_vectors": 3}, {"exact": True}], ids=str)
def test_the_model_s_other_random_numbers_stay(options: dict[str, Any]) -> None:
    torch.manual_seed(0)
    stock_spectral_norm(nn.Conv2d(3, 4, 3))
    expected = torch.rand(3)
    torch.manual_seed(0)
    spectral_norm(nn.Conv2d(3, 4, 3), **options)
    assert torch.equal(torch.rand(3), expected)


def _train(net: nn.Module, optimizer: torch.optim.Optimizer, steps: range) -> None:
    for step in steps:
        loss = F.relu(1 - net(_images(seed=2 * step))).mean() + F.relu(1 + net(_images(seed=2 * step + 1))).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def _adam(net: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.Adam(net.parameters(), lr=1e-2, betas=(0.0, 0.9))


def test_training_moves_between_torch_s_and_ours() -> None:
    whole = _critic(stock_spectral_norm)
    _train(whole, _adam(whole), range(15))
    state = optimizer_state = None
    for start, norm in ((0, stock_spectral_norm), (5, spectral_norm), (10, stock_spectral_norm)):
        net = _critic(norm, seed=start)
        optimizer = _adam(net)
        if state is not None:
            net.load_state_dict(state, strict=True)
            optimizer.load_state_dict(optimizer_state)
        _train(net, optimizer, range(start, start + 5))
        state, optimizer_state = copy.deepcopy(net.state_dict()), copy.deepcopy(optimizer.state_dict())
    expected = whole.state_dict()
    assert list(state) == list(expected)
    for key, value in expected.items():
        torch.testing.assert_close(state[key], value, rtol=1e-9, atol=1e-9, msg=key)


def _wgan_gp(net: nn.Module) -> Tensor:
    mixed = _images(seed=3).requires_grad_()
    (grad,) = torch.autograd.grad(net(mixed).sum(), mixed, create_graph=True)
    penalty = (grad.flatten(1).norm(dim=1) - 1).square().mean()
    return net(_images(seed=1)).mean() - net(_images(seed=2)).mean() + 10 * penalty


def _r1(net: nn.Module) -> Tensor:
    real = _images(seed=1).requires_grad_()
    logits = net(real)
    (grad,) = torch.autograd.grad(logits.sum(), real, create_graph=True)
    return F.softplus(-logits).mean() + F.softplus(net(_images(seed=2))).mean() + 5 * grad.square().sum() / 4


@pytest.mark.parametrize("loss", [_wgan_gp, _r1])
def test_gradient_penalties(loss: Callable[[nn.Module], Tensor]) -> None:
    losses, gradients = [], []
    for norm in (stock_spectral_norm, spectral_norm):
        net = _critic(norm)
        losses.append(loss(net))
        gradients.append(torch.autograd.grad(losses[-1], list(net.parameters()), allow_unused=True))
    assert_close(losses[1], losses[0], torch.float64)
    for actual, expected in zip(gradients[1], gradients[0], strict=True):
        assert (actual is None) == (expected is None)
        if expected is not None:
            assert_close(actual, expected, torch.float64)


def test_a_penalty_on_the_weight_s_own_gradient() -> None:
    """The second derivative with respect to the weight before normalisation, which input penalties do not reach."""
    results = []
    for module in _pair(lambda: nn.Linear(4, 3)):
        original = module.parametrizations.weight.original
        (grad,) = torch.autograd.grad(module(_images(8).flatten(1)[:, :4]).square().sum(), original, create_graph=True)
        results.append(torch.autograd.grad(grad.square().sum(), original)[0])
    assert_close(results[1], results[0], torch.float64)


# --- copies, files, modes, sharing


@pytest.mark.parametrize("forwards", [0, 1, 2])
def test_a_deep_copy_continues_alone(forwards: int) -> None:
    net, same = _critic(spectral_norm), _critic(spectral_norm)
    x = _images()
    outputs = [net(x) for _ in range(forwards)]  # whose graph is alive while the module is copied
    for _ in range(forwards):
        same(x)
    copied = copy.deepcopy(net)
    expected = same(x)
    for module in (copied, net):  # neither iterates the other's vectors
        outputs.append(module(x))
        assert torch.equal(outputs[-1], expected)
        _assert_same_state(module, same)
    copied(x)
    sum(outputs[:forwards], outputs[-1]).sum().backward()
    assert all(p.grad is not None for p in net.parameters()) and all(p.grad is None for p in copied.parameters())
    before = copy.deepcopy(copied.state_dict())
    _train(net, _adam(net), range(2))
    for key, value in copied.state_dict().items():
        assert torch.equal(value, before[key]), f"{key} of the copy moved with the original"


def test_state_goes_through_a_file() -> None:
    net = _critic(spectral_norm)
    _train(net, _adam(net), range(2))
    file = io.BytesIO()
    torch.save(net.state_dict(), file)
    file.seek(0)
    loaded = _critic(spectral_norm, seed=1)
    loaded.load_state_dict(torch.load(file, weights_only=True), strict=True)
    for _ in range(2):
        assert torch.equal(loaded(_images()), net(_images()))


def test_modes() -> None:
    module = spectral_norm(nn.Linear(4, 6).double())
    norm, weight = _norms(module)[0], module.parametrizations.weight.original
    with torch.no_grad():
        weight.add_(torch.randn_like(weight))  # far from what u and v were estimated on

    def error() -> float:
        return abs(torch.linalg.matrix_norm(module.weight, 2).item() - 1)

    module.eval()
    u, v, start = norm._u.clone(), norm._v.clone(), error()
    assert error() == start > 1e-3 and torch.equal(norm._u, u) and torch.equal(norm._v, v)
    module.train()
    for _ in range(30):
        module(torch.randn(1, 4, dtype=torch.float64))
    assert module.eval() is module and error() < 1e-6 and not torch.equal(norm._u, u)


def test_buffers_are_written_in_place() -> None:
    """What a captured CUDA graph and DataParallel's replicas rely on."""
    for options in ({}, {"n_vectors": 2}, {"exact": True}):
        module = spectral_norm(nn.Linear(4, 6), **options)
        norm = _norms(module)[0]
        kept = norm._u, norm._v
        with torch.no_grad():
            module.parametrizations.weight.original.normal_()
        before = [x.clone() for x in kept]
        module(torch.randn(1, 4))
        for now, x, old in zip((norm._u, norm._v), kept, before, strict=True):
            assert now is x and now.data_ptr() == x.data_ptr() and not torch.equal(x, old)


def test_frozen_weights_iterate_and_get_no_gradient() -> None:
    def freeze(net: nn.Module) -> nn.Module:
        for name, parameter in net.named_parameters():
            parameter.requires_grad_("2." not in name)
        return net

    stock, ours = freeze(_critic(stock_spectral_norm)), freeze(_critic(spectral_norm))
    for net in (stock, ours):
        (net(_images(seed=1)) - net(_images(seed=2))).sum().backward()
    _assert_same_state(ours, stock)
    for actual, expected in zip(ours.parameters(), stock.parameters(), strict=True):
        assert (actual.grad is None) == (expected.grad is None)
        if expected.grad is not None:
            assert_close(actual.grad, expected.grad, torch.float64)
    frozen = ours.requires_grad_(False)
    before = frozen[0].parametrizations.weight[0]._u.clone()
    assert not frozen(_images()).requires_grad
    assert not torch.equal(frozen[0].parametrizations.weight[0]._u, before)


def test_one_layer_used_twice() -> None:
    results = []
    for module in _pair(lambda: nn.Linear(4, 4)):
        y = module(module(torch.ones(2, 4, dtype=torch.float64)).tanh()).square().sum()
        results.append(torch.autograd.grad(y, module.parametrizations.weight.original)[0])
        results += [module.parametrizations.weight[0]._u, module.parametrizations.weight[0]._v]
    for actual, expected in zip(results[3:], results[:3], strict=True):
        assert_close(actual, expected, torch.float64)


def test_two_layers_with_one_weight() -> None:
    results = []
    for norm in (stock_spectral_norm, spectral_norm):
        torch.manual_seed(0)
        one, other = nn.Linear(4, 4).double(), nn.Linear(4, 4).double()
        other.weight = one.weight
        norm(one)
        norm(other, n_power_iterations=2)
        assert one.parametrizations.weight.original is other.parametrizations.weight.original
        assert one.parametrizations.weight[0]._u is not other.parametrizations.weight[0]._u
        y = other(one(torch.ones(2, 4, dtype=torch.float64)).tanh()).square().sum()
        results.append([*torch.autograd.grad(y, one.parametrizations.weight.original), y])
    for actual, expected in zip(results[1], results[0], strict=True):
        assert_close(actual, expected, torch.float64)


def test_the_average_of_two_estimates_is_none() -> None:
    """Why a moving average follows u and v as they are; a generator's evaluation uses them."""
    one, other = _critic(spectral_norm, seed=0), _critic(spectral_norm, seed=1)
    average = copy.deepcopy(one)
    with torch.no_grad():
        for mean, second in zip(average.buffers(), other.buffers(), strict=True):
            mean.lerp_(second, 0.5)
        true = torch.linalg.matrix_norm(one[0].parametrizations.weight.original.flatten(1), 2)
        sigmas = [
            (net[0].parametrizations.weight.original / net.eval()[0].weight).mean() for net in (one, average)
        ]  # fmt: skip
    assert abs(sigmas[0] / true - 1) < 0.01 and abs(sigmas[1] / true - 1) > 0.3
    ema = Ema(one)
    _train(one.train(), _adam(one), range(2))
    ema.update(one, 0.5)
    for copied, buffer in zip(ema.module.buffers(), one.buffers(), strict=True):
        assert torch.equal(copied, buffer)
    assert not torch.equal(next(ema.module.parameters()), next(one.parameters()))


@pytest.mark.parametrize("options", [{}, {"n_vectors": 2}, {"exact": True}], ids=str)
def test_made_without_memory_and_loaded(options: dict[str, Any]) -> None:
    source = spectral_norm(nn.Linear(5, 4), **options).eval()
    with torch.device("meta"):
        module = spectral_norm(nn.Linear(5, 4), **options)
    module.to_empty(device="cpu").eval().load_state_dict(source.state_dict(), strict=True)
    assert torch.equal(module.weight, source.weight)


# --- dtypes


@pytest.mark.parametrize("layer", [lambda: nn.Conv2d(3, 4, 3), lambda: nn.Linear(5, 4)], ids=["conv2d", "linear"])
@pytest.mark.parametrize("options", [{}, {"n_vectors": 2}, {"exact": True}], ids=str)
def test_autocast(layer: Callable[[], nn.Module], options: dict[str, Any]) -> None:
    """The convolution runs in bfloat16; the norm, its vectors and the gradient are those without autocast."""
    torch.manual_seed(0)
    module = spectral_norm(layer(), **options)
    plain = copy.deepcopy(module)
    x = torch.randn(2, 3, 5, 5)
    outputs = []
    for cast, used in ((True, module), (False, plain)):
        with torch.autocast("cpu", torch.bfloat16, enabled=cast):
            weight = used.weight
            y = used(x) + used(x)
        assert y.dtype == (torch.bfloat16 if cast else torch.float32) and weight.dtype == torch.float32
        y.float().square().sum().backward()
        outputs.append((weight, y, used.parametrizations.weight.original.grad))
    assert torch.equal(outputs[0][0], outputs[1][0])
    for key, value in plain.state_dict().items():
        assert torch.equal(module.state_dict()[key], value), key
    assert outputs[0][2].dtype == torch.float32
    for actual, expected in zip(outputs[0][1:], outputs[1][1:], strict=True):
        assert_close(actual, expected, torch.bfloat16)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize("first", ["cast", "norm"])
def test_half_types(dtype: torch.dtype, first: str) -> None:
    torch.manual_seed(0)
    module = nn.Linear(6, 4)
    module = spectral_norm(module.to(dtype)) if first == "cast" else spectral_norm(module).to(dtype)
    wide = copy.deepcopy(module).double()
    x = torch.randn(5, 6).to(dtype)
    results = []
    for used, input in ((module, x), (wide, x.double())):
        y = used(input)
        y.square().sum().backward()
        norm = used.parametrizations.weight[0]
        assert norm._u.dtype == norm._v.dtype == used.weight.dtype == y.dtype == input.dtype
        results.append((y, used.parametrizations.weight.original.grad, norm._u, norm._v))
    for actual, expected in zip(*results, strict=True):
        assert_close(actual, expected, dtype)


@pytest.mark.parametrize("dtype", [torch.complex64, torch.complex128, torch.int64, torch.bool], ids=str)
@pytest.mark.parametrize("shape", [(3, 4), (3,)], ids=str)
def test_other_dtypes(dtype: torch.dtype, shape: tuple[int, ...]) -> None:
    module = nn.Module()
    module.register_buffer("weight", torch.ones(shape, dtype=dtype))
    with pytest.raises(TypeError, match=f"spectral_norm: weight must be float32.*got {dtype}"):
        spectral_norm(module)
    assert not parametrize.is_parametrized(module)


# --- weights at the edge


@pytest.mark.parametrize("value", [0.0, torch.nan, torch.inf, -torch.inf])
@pytest.mark.parametrize("everywhere", [True, False])
def test_zero_and_non_finite_weights(value: float, everywhere: bool) -> None:
    def make() -> nn.Module:
        module = nn.Linear(4, 3)
        with torch.no_grad():
            (module.weight if everywhere else module.weight[1, 2:3]).fill_(value)
        return module

    stock, ours = _pair(make)
    for _ in range(2):
        assert_close(ours.weight, stock.weight, torch.float64)
    assert stock.weight.isfinite().all() == (value == 0 and not everywhere)


@pytest.mark.parametrize("options", [{"n_vectors": 2}, {"exact": True}], ids=str)
@pytest.mark.parametrize("value", [0.0, torch.nan, torch.inf])
def test_zero_and_non_finite_weights_with_options(value: float, options: dict[str, Any]) -> None:
    module = nn.Linear(4, 3)
    nn.init.constant_(module.weight, value)
    assert spectral_norm(module, **options).weight.isnan().all()


@pytest.mark.parametrize("shape", [(0, 3), (3, 0), (0, 0), (0, 3, 2, 2), (3, 0, 2, 2)], ids=str)
def test_empty_weights(shape: tuple[int, ...]) -> None:
    def make() -> nn.Module:
        module = nn.Module()
        module.weight = nn.Parameter(torch.randn(shape))
        return module

    stock, ours = _pair(make)
    assert ours.weight.shape == stock.weight.shape
    _assert_same_state(ours, stock)
    for options in ({"n_vectors": 2}, {"exact": True}):
        assert spectral_norm(make(), **options).weight.shape == shape


# --- the tools of torch.nn.utils.parametrize, and errors


@pytest.mark.parametrize("leave_parametrized", [True, False])
@pytest.mark.parametrize("training", [True, False])
def test_removal_and_new_application(leave_parametrized: bool, training: bool) -> None:
    stock, ours = _pair(lambda: nn.Conv2d(3, 4, 3))
    parameter = ours.parametrizations.weight.original
    for _ in range(2):
        for module in (stock, ours):
            module.train(training)
            parametrize.remove_parametrizations(module, "weight", leave_parametrized)
        assert type(ours) is nn.Conv2d and ours.weight is parameter and not parametrize.is_parametrized(ours)
        assert_close(ours.weight, stock.weight, torch.float64)
        assert set(ours.state_dict()) == {"weight", "bias"}
        torch.manual_seed(1)
        stock_spectral_norm(stock)
        torch.manual_seed(1)
        spectral_norm(ours)
        assert parametrize.is_parametrized(ours, "weight") and not parametrize.is_parametrized(ours, "bias")
        _assert_same_state(ours, stock)
    assert len(ours._load_state_dict_pre_hooks) == 1
    parametrize.remove_parametrizations(ours, "weight")
    assert torch.equal(pickle.loads(pickle.dumps(ours)).weight, ours.weight)


def test_second_application_on_the_same_parameter() -> None:
    modules = []
    for norm in (stock_spectral_norm, spectral_norm):
        torch.manual_seed(0)
        modules.append(norm(norm(nn.Linear(4, 3).double()), n_power_iterations=2))
        modules[-1](torch.ones(1, 4, dtype=torch.float64)).sum().backward()
    stock, ours = modules
    _assert_same_state(ours, stock)
    assert_close(ours.parametrizations.weight.original.grad, stock.parametrizations.weight.original.grad, torch.float64)
    assert len(ours._load_state_dict_pre_hooks) == 1


def test_cached() -> None:
    stock, ours = _pair(lambda: nn.Linear(4, 3))
    for module in (stock, ours):
        with parametrize.cached():
            assert module.weight is module.weight  # one iteration
    _assert_same_state(ours, stock)


def test_assigning_the_weight() -> None:
    stock, ours = _pair(lambda: nn.Linear(4, 3))
    value = torch.randn(3, 4, dtype=torch.float64)
    for module in (stock, ours):
        module.weight = value.clone()
    _assert_same_state(ours, stock)
    assert torch.equal(ours.parametrizations.weight.original, value)


def test_functional_call() -> None:
    """State given from outside is what is read and written."""
    module = spectral_norm(nn.Linear(4, 3).double())
    x = torch.randn(2, 4, dtype=torch.float64)
    state = {k: v.detach().clone() for k, v in module.state_dict().items()}
    before = copy.deepcopy(module.state_dict())
    state["parametrizations.weight.original"].mul_(torch.rand(3, 4)).requires_grad_()
    given = state["parametrizations.weight.0._u"].clone()
    torch.func.functional_call(module, state, x).sum().backward()
    assert state["parametrizations.weight.original"].grad is not None
    assert not torch.equal(state["parametrizations.weight.0._u"], given)
    for key, value in module.state_dict().items():
        assert torch.equal(value, before[key])
    with pytest.raises(NotImplementedError, match=r"spectral_norm: torch\.func transforms are not supported"):
        torch.func.grad(lambda state: torch.func.functional_call(module, state, x).sum())(before)


@pytest.mark.parametrize(
    ("module", "arguments", "error", "message"),
    [
        (lambda: nn.Linear(3, 4), {"name": "kernel"}, ValueError, "name must be that of a parameter.*'kernel'"),
        (lambda: nn.Linear(3, 4, bias=False), {"name": "bias"}, ValueError, "name must be that of a parameter.*'bias'"),
        (lambda: nn.Linear(3, 4), {"dim": 2}, IndexError, r"dim must be in \[-2, 1\] for weight \[4, 3\], got 2"),
        (lambda: nn.Linear(3, 4), {"dim": -3}, IndexError, r"dim must be in \[-2, 1\] for weight \[4, 3\], got -3"),
        (lambda: nn.Linear(3, 4), {"n_power_iterations": 0}, ValueError, "n_power_iterations must be positive, got 0"),
        (lambda: nn.Linear(3, 4), {"name": "bias", "n_power_iterations": -1}, ValueError, "positive, got -1"),
    ],
)
def test_errors_are_torch_s(
    module: Callable[[], nn.Module], arguments: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error):
        stock_spectral_norm(module(), **arguments)
    refused = module()
    with pytest.raises(error, match=f"spectral_norm: .*{message}"):
        spectral_norm(refused, **arguments)
    assert not parametrize.is_parametrized(refused)


@pytest.mark.parametrize("argument", ["n_power_iterations", "dim", "n_vectors"])
@pytest.mark.parametrize("given", [1.0, True, "1"])
def test_numbers_are_integers(argument: str, given: Any) -> None:
    with pytest.raises(TypeError, match=f"spectral_norm: {argument} must be an integer, got {type(given).__name__}"):
        spectral_norm(nn.Linear(3, 4), **{argument: given})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_vectors": 0}, "n_vectors must be at least 1, got 0"),
        ({"n_vectors": 2, "exact": True}, "exact must be False for n_vectors > 1"),
        ({"n_vectors": 2, "v_first": True}, "v_first must be False for n_vectors > 1"),
        ({"eps": 0.0}, "eps must be positive, got 0.0"),
    ],
)
def test_errors_of_options(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=f"spectral_norm: {message}"):
        spectral_norm(nn.Linear(3, 4), **options)


# --- options


def _close_singular_values(rows: int = 12, columns: int = 9) -> nn.Linear:
    """Singular values 1, 0.99, 0.98, and small ones."""
    module = nn.Linear(columns, rows).double()
    u, _, v = torch.linalg.svd(module.weight.detach(), full_matrices=False)
    values = torch.full((columns,), 0.1, dtype=torch.float64)
    values[:3] = torch.tensor([1, 0.99, 0.98])
    with torch.no_grad():
        module.weight.copy_(u * values @ v)
    return module


def test_several_vectors_estimate_close_singular_values() -> None:
    errors = {}
    for vectors in (1, 3, 50):
        torch.manual_seed(0)
        module = spectral_norm(_close_singular_values(), n_vectors=vectors)
        norm = _norms(module)[0]
        k = min(vectors, 9)
        assert norm._u.shape == ((12, k) if k > 1 else (12,)) and norm._v.shape == ((9, k) if k > 1 else (9,))
        if k > 1:
            assert_close(norm._u.mT @ norm._u, torch.eye(k), torch.float64)
        errors[vectors] = torch.linalg.matrix_norm(module.weight, 2).item() - 1
    assert errors[1] > 1e-3 and abs(errors[3]) < 1e-13 and abs(errors[50]) < 1e-13


@pytest.mark.parametrize(
    "options", [{"n_vectors": 3}, {"n_vectors": 3, "n_power_iterations": 2}, {"exact": True}], ids=str
)
@pytest.mark.parametrize("make", [lambda: nn.Linear(7, 5), lambda: nn.ConvTranspose2d(3, 6, 2)], ids=["linear", "conv"])
def test_options_train_and_evaluate(make: Callable[[], nn.Module], options: dict[str, Any]) -> None:
    module = spectral_norm(make().double(), **options)
    original = module.parametrizations.weight.original
    with torch.no_grad():
        original.add_(0.1 * torch.randn_like(original))
    first, second = module.weight, module.weight
    (grad,) = torch.autograd.grad((first * torch.arange(first.numel()).view_as(first) + second).sum(), original)
    assert grad.isfinite().all() and grad.any()
    for _ in range(20):
        last = module.weight
    rows = original.movedim(_norms(module)[0].dim, 0).flatten(1)
    true = original / torch.linalg.matrix_norm(rows, 2)
    torch.testing.assert_close(last, true, rtol=1e-6, atol=1e-6)
    state = copy.deepcopy(module.state_dict())
    assert_close(module.eval().weight, last, torch.float64)
    again = spectral_norm(make().double(), **options).eval()
    again.load_state_dict(state, strict=True)
    assert torch.equal(again.weight, module.weight)
    for key, value in module.state_dict().items():
        assert torch.equal(value, state[key]), f"evaluation changed {key}"


def test_exact_needs_one_access() -> None:
    module = spectral_norm(_close_singular_values(), exact=True)
    for _ in range(2):
        with torch.no_grad():
            module.parametrizations.weight.original.normal_()
        before = module.eval().weight  # with the vectors of the last training access
        assert abs(torch.linalg.matrix_norm(before, 2) - 1) > 1e-2
        assert abs(torch.linalg.matrix_norm(module.train().weight, 2) - 1) < 1e-13
        assert abs(torch.linalg.matrix_norm(module.eval().weight, 2) - 1) < 1e-13


def test_v_first_is_the_order_of_torch_s_hook() -> None:
    torch.manual_seed(0)
    ours = nn.Linear(6, 4).double()
    hooked = torch.nn.utils.spectral_norm(copy.deepcopy(ours))
    spectral_norm(ours, v_first=True)
    norm = _norms(ours)[0]
    norm._u.copy_(hooked.weight_u)
    norm._v.copy_(hooked.weight_v)
    x = torch.randn(3, 6, dtype=torch.float64)
    for _ in range(3):
        assert_close(ours(x), hooked(x), torch.float64)
        assert_close(norm._u, hooked.weight_u, torch.float64)
        assert_close(norm._v, hooked.weight_v, torch.float64)


def test_repr() -> None:
    assert repr(_norms(spectral_norm(nn.Linear(4, 3)))[0]) == "SpectralNorm()"
    assert repr(_norms(spectral_norm(nn.Linear(4, 3), v_first=True))[0]) == "SpectralNorm(v_first=True)"
    assert repr(_norms(spectral_norm(nn.Linear(4, 3), n_vectors=2))[0]) == "SpectralNorm(n_vectors=2)"


# --- what a whole model's normalisation uses


@pytest.mark.parametrize("materialized", [True, False])
@pytest.mark.parametrize("options", [{}, {"v_first": True}, {"n_vectors": 2}], ids=str)
def test_prepared_results_are_used(materialized: bool, options: dict[str, Any]) -> None:
    torch.manual_seed(0)
    module = spectral_norm(nn.Linear(5, 4).double(), **options)
    norm, original = _norms(module)[0], module.parametrizations.weight.original
    with torch.no_grad():
        original.normal_()
    expected = copy.deepcopy(module)
    normalized, sigma, u, v = norm.normalize(original)
    norm.prepared = (normalized if materialized else normalized.new_empty(0), sigma, u, v)
    weights = module.weight, module.weight
    norm.prepared = None
    one = expected.weight
    for weight in weights:
        assert_close(weight, one, torch.float64)
    assert not materialized or weights[0] is normalized
    _assert_same_state(module, expected)  # one iteration for both accesses
    grads = [
        torch.autograd.grad(weight.square().sum(), used.parametrizations.weight.original)[0]
        for weight, used in ((weights[1], module), (one, expected))
    ]
    assert_close(grads[0], grads[1], torch.float64)


def test_normalize_returns_what_the_function_returns() -> None:
    module = spectral_norm(nn.Linear(5, 4).double())
    norm, original = _norms(module)[0], module.parametrizations.weight.original
    expected = functional.spectral_norm(original, norm._u, norm._v)
    actual = norm.normalize(original)
    for ours, theirs in zip(actual, expected, strict=True):
        assert torch.equal(ours, theirs)
    assert torch.equal(norm._u, expected[2]) and torch.equal(norm._v, expected[3])
    assert actual[2].data_ptr() != norm._u.data_ptr(), "what the graph holds is not the buffer"


@pytest.mark.parametrize("layer", ["conv_transpose2d", "vector"])
@pytest.mark.parametrize("training", [True, False])
def test_ours_takes_over_from_torch_s(layer: str, training: bool) -> None:
    make, name = LAYERS[layer]
    stock, expected = _pair(make, name, n_power_iterations=2, eps=1e-3)
    before = torch.get_rng_state()
    held = stock.train(training).parametrizations[name]
    theirs, held[0] = held[0], SpectralNorm.of_stock(held[0])
    assert torch.equal(torch.get_rng_state(), before)
    assert repr(held[0]) == "SpectralNorm()" and held[0].training == training
    for buffer, same in zip(held[0].buffers(), theirs.buffers(), strict=True):
        assert buffer is same
    change = torch.rand_like(held.original)
    with torch.no_grad():
        for module in (stock, expected.train(training)):
            module.parametrizations[name].original.mul_(change)
    assert_close(getattr(stock, name), getattr(expected, name), torch.float64)
    _assert_same_state(stock, expected)


# --- torch.compile


@pytest.fixture
def _fresh_compiler() -> Iterator[None]:
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


@pytest.mark.usefixtures("_fresh_compiler")
@pytest.mark.parametrize("backend", ["aot_eager", "inductor"])
def test_compiles_a_step_of_two_forwards(backend: str) -> None:
    def loss_of(net: nn.Module, real: Tensor, fake: Tensor) -> Tensor:
        return F.relu(1 - net(real)).mean() + F.relu(1 + net(fake)).mean()

    eager, compiled = _critic(spectral_norm), _critic(spectral_norm)
    compiled_loss = torch.compile(loss_of, fullgraph=True, backend=backend)
    optimizers = [_adam(net) for net in (eager, compiled)]
    for step in range(3):
        for net, function, optimizer in zip((eager, compiled), (loss_of, compiled_loss), optimizers, strict=True):
            optimizer.zero_grad()
            function(net, _images(seed=2 * step), _images(seed=2 * step + 1)).backward()
            optimizer.step()
        for actual, expected in zip(compiled.parameters(), eager.parameters(), strict=True):
            torch.testing.assert_close(actual.grad, expected.grad, rtol=1e-9, atol=1e-9)
        for key, value in eager.state_dict().items():
            torch.testing.assert_close(compiled.state_dict()[key], value, rtol=1e-9, atol=1e-9, msg=key)
    eager.eval()
    compiled.eval()
    torch.testing.assert_close(
        compiled_loss(compiled, _images(seed=0), _images(seed=1)),
        loss_of(eager, _images(seed=0), _images(seed=1)),
        rtol=1e-9,
        atol=1e-9,
    )


@pytest.mark.usefixtures("_fresh_compiler")
@pytest.mark.parametrize("options", [{"v_first": True}, {"n_vectors": 2}, {"exact": True}], ids=str)
def test_options_compile(options: dict[str, Any]) -> None:
    eager = spectral_norm(nn.Linear(5, 4).double(), **options)
    compiled = copy.deepcopy(eager)
    x = torch.randn(3, 5, dtype=torch.float64)

    def loss_of(module: nn.Module) -> Tensor:
        return module(x).square().mean() - module(-x).mean()

    loss_of(eager).backward()
    torch.compile(loss_of, fullgraph=True, backend="aot_eager")(compiled).backward()
    for key, value in eager.state_dict().items():
        assert_close(compiled.state_dict()[key], value, torch.float64, key)
    for actual, expected in zip(compiled.parameters(), eager.parameters(), strict=True):
        assert_close(actual.grad, expected.grad, torch.float64)
