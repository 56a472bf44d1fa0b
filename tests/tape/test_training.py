"""What training does around a penalised step: scaling, accumulating, freezing, several penalties, compiling."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fastgan.nn import PenalizedDiscriminator
from fastgan.penalties import DRAGAN, R1, R2, WGANGP, Penalty, ZeroCentered
from tests.tape.networks import NETWORKS, SNGAN, Network, SixLayers
from tests.tape.stock import LOSSES, assert_same, chosen, of_all, penalized_step, stock_step

SOFTPLUS = LOSSES["softplus"]
#: One of each path.
PATHS = ["six layers", "patchgan", "silu", "batch norm"]


@pytest.fixture(autouse=True)
def _float64() -> Iterator[None]:
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def stock_gradients(net: nn.Module, x: Tensor, network: Network, gamma: float = 2.0) -> list[Tensor | None]:
    return stock_step(net, x, network.conditions(), R1(gamma), of_all(SOFTPLUS), network.select)[3:]


def distance(actual: list[Tensor | None], exact: list[Tensor | None]) -> float:
    """Relative, of all gradients together."""
    pairs = [(a, e) for a, e in zip(actual, exact, strict=True) if a is not None and e is not None]
    error = sum((a - e).double().square().sum().item() for a, e in pairs)
    size = sum(e.square().sum().item() for _, e in pairs)
    return (error / size) ** 0.5


@pytest.mark.parametrize("name", [name for name in NETWORKS if name not in ("mlp", "multi-scale")])
def test_autocasting_to_bfloat16_is_no_worse_than_stock_s(name: str) -> None:
    torch.set_default_dtype(torch.float32)
    network = NETWORKS[name]
    net, x = network.make(), torch.randn(network.shape)
    twins = [copy.deepcopy(net) for _ in range(2)]
    exact = stock_gradients(twins[0].double(), x.double(), network)
    loss = of_all(SOFTPLUS)
    with torch.autocast("cpu", torch.bfloat16):
        out, penalty = PenalizedDiscriminator(net, R1(2.0), select=network.select)(x, *network.conditions())
        value = loss(out) + penalty
    ours = torch.autograd.grad(value, list(net.parameters()), allow_unused=True)
    leaf = x.clone().requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        out = twins[1](leaf, *network.conditions())
        total = sum(t.sum() for t in chosen(out, network.select))
        (g,) = torch.autograd.grad(total, leaf, create_graph=True)
        value = loss(out) + R1(2.0)(g)
    stock = torch.autograd.grad(value, list(twins[1].parameters()), allow_unused=True)
    assert all(g is None or g.dtype is torch.float32 for g in ours)
    assert distance(list(ours), exact) <= 1.5 * distance(list(stock), exact) + 2e-3


@pytest.mark.parametrize("name", PATHS)
def test_gradient_scaler_in_float16(name: str) -> None:
    torch.set_default_dtype(torch.float32)
    network = NETWORKS[name]
    net, x = network.make(), torch.randn(network.shape)
    exact = stock_gradients(copy.deepcopy(net).double(), x.double(), network)
    module = PenalizedDiscriminator(net, R1(2.0))
    optimizer = torch.optim.SGD(module.parameters(), 1.0)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**15)
    before = [p.detach().clone() for p in net.parameters()]
    with torch.autocast("cpu", torch.float16):
        out, penalty = module(x)
        loss = SOFTPLUS(out.float()) + penalty
    scaler.scale(loss).backward()
    scaler.unscale_(optimizer)
    assert distance([p.grad for p in net.parameters()], exact) <= 0.02
    scaler.step(optimizer)
    scaler.update()
    assert scaler.get_scale() == 2.0**15
    assert all(not torch.equal(a, b) for a, b in zip(before, net.parameters(), strict=True) if b.grad.any())
    # Beyond float16 the step is left out, and the scale falls.
    after = [p.detach().clone() for p in net.parameters()]
    optimizer.zero_grad()
    with torch.autocast("cpu", torch.float16):
        out, penalty = module(1e6 * x)
        loss = SOFTPLUS(out.float()) + penalty
    scaler.scale(loss).backward()
    scaler.step(optimizer)
    scaler.update()
    assert scaler.get_scale() == 2.0**14
    assert_same(list(net.parameters()), after, 0.0)


@pytest.mark.parametrize("name", PATHS)
def test_gradients_accumulate_over_batches(name: str) -> None:
    network = NETWORKS[name]
    net = network.make()
    twin = copy.deepcopy(net)
    module, total = PenalizedDiscriminator(net, R1(2.0)), [torch.zeros_like(p) for p in twin.parameters()]
    for _ in range(3):
        x = torch.randn(network.shape)
        out, penalty = module(x)
        ((SOFTPLUS(out) + penalty) / 3).backward()
        found = stock_gradients(twin, x, network)
        total = [t if g is None else t + g / 3 for t, g in zip(total, found, strict=True)]
    assert_same([p.grad for p in net.parameters()], total)


@pytest.mark.parametrize("name", PATHS)
def test_layers_frozen_between_steps(name: str) -> None:
    network = NETWORKS[name]
    net, x = network.make(), torch.randn(network.shape)
    twin = copy.deepcopy(net)
    module = PenalizedDiscriminator(net, R1(2.0))
    parameters = list(zip(net.parameters(), twin.parameters(), strict=True))
    for frozen in ([0], [2, 3], list(range(len(parameters) - 1)), []):
        for i, pair in enumerate(parameters):
            for parameter in pair:
                parameter.requires_grad_(i not in frozen)
        wanted = [pair for i, pair in enumerate(parameters) if i not in frozen]
        out, penalty = module(x)
        ours = torch.autograd.grad(SOFTPLUS(out) + penalty, [a for a, _ in wanted], allow_unused=True)
        leaf = x.clone().requires_grad_()
        out = twin(leaf)
        (g,) = torch.autograd.grad(out.sum(), leaf, create_graph=True)
        loss = SOFTPLUS(out) + R1(2.0)(g)
        assert_same(ours, torch.autograd.grad(loss, [b for _, b in wanted], allow_unused=True))


@pytest.mark.parametrize("name", PATHS)
def test_graph_retained_for_a_second_backward(name: str) -> None:
    network = NETWORKS[name]
    net, x = network.make(), torch.randn(network.shape)
    parameters = list(net.parameters())
    out, penalty = PenalizedDiscriminator(net, R1(2.0))(x)
    first = torch.autograd.grad(SOFTPLUS(out) + penalty, parameters, retain_graph=True, allow_unused=True)
    other = torch.autograd.grad(LOSSES["squares"](out) + 2 * penalty, parameters, retain_graph=True, allow_unused=True)
    again = torch.autograd.grad(SOFTPLUS(out) + penalty, parameters, allow_unused=True)
    assert_same(again, first)
    twice = PenalizedDiscriminator(net, R1(4.0))
    assert_same(other, penalized_step(twice, x, (), LOSSES["squares"])[3:])
    with pytest.raises(RuntimeError, match="second time"):
        torch.autograd.grad(SOFTPLUS(out) + penalty, parameters, allow_unused=True)


def test_two_calls_before_one_backward() -> None:
    net = SixLayers()
    module, x = PenalizedDiscriminator(net, R1(2.0)), torch.randn(2, 2, 3, 16, 16)
    losses = []
    for each in x:
        out, penalty = module(each)
        losses.append(SOFTPLUS(out) + penalty)
    ours = torch.autograd.grad(sum(losses), list(net.parameters()))
    apart = [stock_step(net, each, (), R1(2.0), SOFTPLUS, None)[3:] for each in x]
    assert_same(ours, [a + b for a, b in zip(*apart, strict=True)])


@pytest.mark.parametrize(
    "penalties",
    [
        [R1(2.0), WGANGP(3.0, 0.5, "real")],
        [R1(2.0), R2(3.0), WGANGP(1.5)],
        [DRAGAN(2.0), ZeroCentered(3.0), R2(1.0), R1(0.5, every=2)],
    ],
    ids=lambda penalties: " ".join(type(each).__name__ for each in penalties),
)
def test_penalties_together(penalties: list[Penalty]) -> None:
    net, x, fake = SNGAN().eval(), *torch.randn(2, 3, 3, 8, 8)
    labels, fake_labels = torch.tensor([0, 4, 2]), torch.tensor([1, 1, 3])
    module = PenalizedDiscriminator(net, penalties)
    module.train()
    net.eval()
    torch.manual_seed(3)
    out, fake_out, value = module(x, labels, fake=fake, fake_conditions=(fake_labels,))
    ours = torch.autograd.grad(SOFTPLUS(out) + SOFTPLUS(-fake_out) + value, list(net.parameters()))
    torch.manual_seed(3)
    total = SOFTPLUS(net(x, labels)) + SOFTPLUS(-net(fake, fake_labels))
    for penalty in penalties:
        points = penalty.place(x, fake).clone().requires_grad_()
        given = fake_labels if penalty.points == "fake" else labels
        (g,) = torch.autograd.grad(net(points, given).sum(), points, create_graph=True)
        total = total + penalty(g)
    assert_same(ours, torch.autograd.grad(total, list(net.parameters())))


def test_compiled_discriminator_trains_where_stock_cannot() -> None:
    net = SixLayers()
    eager = copy.deepcopy(net)
    compiled = torch.compile(net, backend="aot_eager")
    leaf = torch.randn(2, 3, 16, 16, requires_grad=True)
    (g,) = torch.autograd.grad(compiled(leaf).sum(), leaf, create_graph=True)
    with pytest.raises(RuntimeError, match="does not currently support double backward"):
        g.square().sum().backward()
    modules = [PenalizedDiscriminator(compiled, [R1(1.0), R2(1.0)]), PenalizedDiscriminator(eager, [R1(1.0), R2(1.0)])]
    optimizers = [torch.optim.Adam(module.parameters(), 1e-3, betas=(0.0, 0.9)) for module in modules]
    values: list[list[float]] = []
    for _ in range(5):
        x, fake = torch.randn(2, 2, 3, 16, 16)
        values.append([])
        for module, optimizer in zip(modules, optimizers, strict=True):
            out, fake_out, penalty = module(x, fake=fake)
            loss = F.softplus(fake_out - out).mean() + penalty
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            values[-1].append(loss.item())
    assert all(a == pytest.approx(b, rel=1e-12) for a, b in values)
    assert_same(list(net.parameters()), list(eager.parameters()), 1e-9)
    assert modules[0].explain()["real"].path == "four passes"


def test_generator_s_step_through_a_penalised_discriminator() -> None:
    """Without a penalty due, and with the discriminator's weights frozen."""
    net, generator = SixLayers(), nn.ConvTranspose2d(4, 3, 16)
    module = PenalizedDiscriminator(net, R1(2.0))
    module.requires_grad_(False)
    z = torch.randn(2, 4, 1, 1)
    out, penalty = module(generator(z))
    ours: Any = torch.autograd.grad(SOFTPLUS(out) + penalty, list(generator.parameters()))
    points = generator(z)
    out = net(points)
    (g,) = torch.autograd.grad(out.sum(), points, create_graph=True)
    assert_same(ours, torch.autograd.grad(SOFTPLUS(out) + R1(2.0)(g), list(generator.parameters())))
