"""The penalised call as a whole: what state it leaves, what it counts, and where it refuses."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

import fastgan
from fastgan.functional import gradient_penalty
from fastgan.nn import PenalizedDiscriminator
from fastgan.penalties import DRAGAN, R1, R2, WGANGP, WGANLP, ApproximateR1, ZeroCentered, interpolate
from tests.tape.networks import (
    MLP,
    NETWORKS,
    SNGAN,
    BatchNorm,
    MultiScale,
    PatchGAN,
    ProGAN,
    SixLayers,
    dcgan,
    everything,
)
from tests.tape.stock import BOUND, LOSSES, assert_same, compare, of_all, penalized_step, stock_step
from tests.trainers.runs import run_python

SOFTPLUS = LOSSES["softplus"]


@pytest.fixture(autouse=True)
def _float64() -> Iterator[None]:
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


class Convolutions(TorchDispatchMode):
    """Convolutions, a gradient of one counted as one."""

    count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.ops.aten.convolution.default:
            self.count += 1
        elif func is torch.ops.aten.convolution_backward.default:
            self.count += sum(args[-1][:2])
        return func(*args, **(kwargs or {}))


def test_six_layers_take_24_convolutions() -> None:
    net, x = SixLayers(), torch.randn(2, 3, 16, 16)
    module = PenalizedDiscriminator(net, R1())
    with Convolutions() as ours:
        out, penalty = module(x)
        (SOFTPLUS(out) + penalty).backward()
    leaf = x.requires_grad_()
    with Convolutions() as stock:
        out = net(leaf)
        (g,) = torch.autograd.grad(out.sum(), leaf, create_graph=True)
        torch.autograd.grad(SOFTPLUS(out) + g.square().sum(), list(net.parameters()), allow_unused=True)
    assert (ours.count, stock.count) == (24, 35)


@pytest.mark.parametrize("inplace", [False, True])
def test_fallback_runs_no_pass_over_zeros(inplace: bool) -> None:
    class Centred(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = SixLayers()
            for module in self.net:
                if isinstance(module, nn.LeakyReLU):
                    module.inplace = inplace

        def forward(self, x: Tensor) -> Tensor:
            out = self.net(x)
            return out - 0.1 * out.mean()

    net, x = Centred(), torch.randn(3, 3, 16, 16)
    compare(net, x, R1(2.0), SOFTPLUS, path="double backward")
    penalty = gradient_penalty(net, x, penalty=R1(2.0))
    weights = [p for p in net.parameters() if p.dim() > 1]
    with Convolutions() as counted:
        torch.autograd.grad(penalty, weights)
    assert counted.count == 11  # T, but for the last layer, and a weight gradient each


@pytest.mark.parametrize(
    "penalty", [R1(2.0), ZeroCentered(2.0, "real"), WGANGP(3.0, 0.2, "real"), WGANLP(3.0, 0.05, "real")]
)
def test_penalties_on_real_samples(penalty: Any) -> None:
    compare(SixLayers(), torch.randn(3, 3, 16, 16), penalty, SOFTPLUS, path="four passes")


def test_r1_and_r2_together_equal_stock() -> None:
    net, x, fake = SNGAN(), torch.randn(3, 3, 8, 8), torch.randn(3, 3, 8, 8)
    twin, y = copy.deepcopy(net), torch.tensor([0, 4, 2])
    module = PenalizedDiscriminator(net, [R1(2.0), R2(3.0)])
    out, fake_out, penalty = module(x, y, fake=fake)
    ours = torch.autograd.grad(F.softplus(fake_out - out).mean() + penalty, list(net.parameters()))
    total = torch.zeros(())
    outputs = []
    for samples, gamma in ((x, 2.0), (fake, 3.0)):
        leaf = samples.clone().requires_grad_()
        outputs.append(twin(leaf, y))
        (g,) = torch.autograd.grad(outputs[-1].sum(), leaf, create_graph=True)
        total = total + gamma / 2 * g.square().sum() / len(x)
    stock = torch.autograd.grad(F.softplus(outputs[1] - outputs[0]).mean() + total, list(twin.parameters()))
    assert_same(ours, stock)
    assert {points: each.path for points, each in module.explain().items()} == {
        "real": "four passes",
        "fake": "four passes",
    }


def test_wgan_gp_step_equals_stock() -> None:
    net, x, fake = SixLayers(), torch.randn(3, 3, 16, 16), torch.randn(3, 3, 16, 16)
    module = PenalizedDiscriminator(net, WGANGP())
    state = torch.get_rng_state()
    out, fake_out, penalty = module(x, fake=fake)
    ours = torch.autograd.grad(fake_out.mean() - out.mean() + penalty, list(net.parameters()))
    torch.set_rng_state(state)
    points = interpolate(x, fake).requires_grad_()
    (g,) = torch.autograd.grad(net(points).sum(), points, create_graph=True)
    stock = net(fake).mean() - net(x).mean() + 10 * (g.flatten(1).norm(dim=1) - 1).square().mean()
    assert_same(ours, torch.autograd.grad(stock, list(net.parameters())))
    assert module.explain()["interpolated"].path == "four passes"
    torch.set_rng_state(state)
    alone = gradient_penalty(net, x, penalty=WGANGP(), fake=fake)
    assert_same([alone], [penalty])


def test_perturbed_points() -> None:
    net, x = SixLayers(), torch.randn(3, 3, 16, 16)
    module = PenalizedDiscriminator(net, DRAGAN(perturbation=lambda real: real + 0.25))
    _, penalty = module(x)
    points = (x + 0.25).requires_grad_()
    (g,) = torch.autograd.grad(net(points).sum(), points)
    assert_same([penalty], [10 * (g.flatten(1).norm(dim=1) - 1).square().mean()])


def test_approximate_r1_approaches_r1() -> None:
    net = nn.Linear(5, 1)
    penalty = ApproximateR1(2.0, 0.1)
    x = torch.randn(20000, 5)
    _, value = PenalizedDiscriminator(net, penalty)(x)
    torch.testing.assert_close(value, net.weight.square().sum(), rtol=0.05, atol=0)
    with pytest.raises(TypeError, match="gradient_penalty: penalty must be of a gradient"):
        gradient_penalty(net, x, penalty=penalty)


def test_lazy_regularisation_counts_every_call() -> None:
    net, x = MLP().eval(), torch.randn(4, 6)
    module = PenalizedDiscriminator(net, R1(2.0, every=3))
    expected = PenalizedDiscriminator(net, R1(6.0))(x)[1]
    module.train()
    net.eval()
    values = [module(x)[1] for _ in range(3)]
    assert not values[1].any() and not values[2].any() and module.explain() == {}
    assert_same([module.eval()(x)[1], module(x)[1]], [expected, expected])
    module.train()
    net.eval()
    assert_same([values[0], module(x)[1]], [expected, expected])


def test_python_state_is_read_at_every_call() -> None:
    net, x = ProGAN(), torch.randn(3, 3, 8, 8)
    for net.alpha in (0.3, 0.9, 1.0, 0.0):
        compare(net, x, R1(2.0), SOFTPLUS, path="four passes")
    net = MLP()
    for net[2].p, training in ((0.3, True), (0.6, True), (0.6, False)):
        compare(net.train(training), torch.randn(4, 6), R1(2.0), SOFTPLUS, path="four passes")


def test_weight_read_twice_under_spectral_norm() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.utils.parametrizations.spectral_norm(nn.Linear(6, 6))

        def forward(self, x: Tensor) -> Tensor:
            return self.layer(F.relu(self.layer(x))).sum(1)

    compare(Twice(), torch.randn(4, 6), R1(2.0), SOFTPLUS, path="four passes")


class Kinks(nn.Module):
    """Everything at its kink: zeros, bounds and ties."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(4, 8, bias=False), nn.Linear(8, 1)
        with torch.no_grad():
            self.first.weight.copy_(torch.tensor([0.0, 1.0, -1.0, 6.0, 1.0, 1.0, 0.5, -0.5])[:, None].expand(8, 4) / 4)

    def forward(self, x: Tensor) -> Tensor:
        h = self.first(x)
        h = (
            F.relu(h)
            + F.leaky_relu(h, 0.2)
            + F.relu6(h)
            + h.clamp(-1, 1)
            + F.hardtanh(h)
            + h.abs()
            + F.prelu(h, h.new_ones(1) / 3)
        )
        pooled = F.max_pool1d(h[:, None], 2)[:, 0] + h.view(-1, 4, 2).amax(2) + h.view(-1, 4, 2).max(2)[0]
        return self.last(torch.maximum(h, torch.cat([pooled, pooled], 1)))


def test_inputs_at_kinks_and_ties() -> None:
    compare(Kinks(), torch.ones(3, 4), R1(2.0), SOFTPLUS, path="four passes")


def test_zero_gradient_norms_have_finite_gradients() -> None:
    net = SixLayers()
    nn.init.zeros_(net[-2].weight)
    module = compare(net, torch.randn(3, 3, 16, 16), WGANGP(3.0, 1.0, "real"), SOFTPLUS, path="four passes")
    assert all(g is None or g.isfinite().all() for g in penalized_step(module, torch.randn(3, 3, 16, 16), (), SOFTPLUS))


@pytest.mark.parametrize("name", NETWORKS)
def test_batch_of_one(name: str) -> None:
    network = NETWORKS[name]
    conditions = tuple(each[:1] for each in network.conditions())
    x = torch.randn(1, *network.shape[1:])
    compare(network.make(), x, R1(2.0), of_all(SOFTPLUS), conditions, network.select)


def test_frozen_layers() -> None:
    net = dcgan()
    for parameter in (net[0].weight, net[2].bias, *net[8].parameters()):
        parameter.requires_grad_(False)
    x = torch.randn(2, 3, 64, 64)
    wanted = [p for p in net.parameters() if p.requires_grad]
    out, penalty = PenalizedDiscriminator(net, R1(2.0))(x)
    ours = torch.autograd.grad(SOFTPLUS(out) + penalty, wanted)
    x.requires_grad_()
    out = net(x)
    (g,) = torch.autograd.grad(out.sum(), x, create_graph=True)
    assert_same(ours, torch.autograd.grad(SOFTPLUS(out) + g.square().sum() / 2, wanted))
    for parameter in net.parameters():
        parameter.requires_grad_(False)
    y = x.detach().requires_grad_()
    out, penalty = PenalizedDiscriminator(net, R1(2.0))(y)
    assert_same(torch.autograd.grad(SOFTPLUS(out) + penalty, y), torch.autograd.grad(SOFTPLUS(net(x)), x))


def test_gradients_accumulate() -> None:
    net, twin = dcgan(), None
    twin = copy.deepcopy(net)
    for _ in range(2):
        x = torch.randn(2, 3, 64, 64)
        out, penalty = PenalizedDiscriminator(net, R1(2.0))(x)
        (SOFTPLUS(out) + penalty).backward()
        x.requires_grad_()
        out = twin(x)
        (g,) = torch.autograd.grad(out.sum(), x, create_graph=True)
        (SOFTPLUS(out) + g.square().sum() / 2).backward()
    assert_same([p.grad for p in net.parameters()], [p.grad for p in twin.parameters()])


@pytest.mark.parametrize("make", [dcgan, PatchGAN])
def test_second_backward_is_right_or_refused(make: Any) -> None:
    net, x = make(), torch.randn(2, 3, 64, 64)
    parameters = list(net.parameters())
    out, penalty = PenalizedDiscriminator(net, R1(2.0))(x)
    loss = SOFTPLUS(out) + penalty
    first = torch.autograd.grad(loss, parameters, retain_graph=True)
    assert_same(torch.autograd.grad(loss, parameters), first)
    with pytest.raises(RuntimeError, match="second time"):
        torch.autograd.grad(loss, parameters)


def test_loss_and_penalty_one_after_the_other() -> None:
    net, x = dcgan(), torch.randn(2, 3, 64, 64)
    parameters = list(net.parameters())
    out, penalty = PenalizedDiscriminator(net, R1(2.0))(x)
    together = torch.autograd.grad(SOFTPLUS(out) + penalty, parameters, retain_graph=True)
    apart = [
        torch.autograd.grad(each, parameters, retain_graph=True, allow_unused=True) for each in (SOFTPLUS(out), penalty)
    ]
    assert_same([a if b is None else a + b for a, b in zip(*apart, strict=True)], together)


def test_third_derivatives_and_written_weights_are_refused() -> None:
    net, x = dcgan(), torch.randn(2, 3, 64, 64)
    out, penalty = PenalizedDiscriminator(net, R1(2.0))(x)
    (g,) = torch.autograd.grad(SOFTPLUS(out) + penalty, net[0].weight, create_graph=True)
    with pytest.raises(RuntimeError, match="differentiate twice"):
        g.sum().backward()
    out, penalty = PenalizedDiscriminator(net, R1(2.0))(x)
    with torch.no_grad():
        net[2].weight.mul_(2)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        (SOFTPLUS(out) + penalty).backward()


class Dict(nn.Module):
    """Two heads on one trunk, as StarGAN's, and features for a matching loss."""

    def __init__(self) -> None:
        super().__init__()
        self.trunk, self.source, self.label = nn.Linear(6, 8), nn.Linear(8, 1), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> dict[str, Any]:
        h = F.leaky_relu(self.trunk(x), 0.1)
        return {"source": self.source(h), "label": self.label(h), "features": [h], "step": 3}


@pytest.mark.parametrize("used", [("source",), ("source", "label"), ("label",), ("source", "label", "features")])
def test_outputs_that_are_no_tensor(used: tuple[str, ...]) -> None:
    def loss(output: dict[str, Any]) -> Tensor:
        return of_all(SOFTPLUS)([output[name] for name in used])

    def counted(output: dict[str, Any]) -> Tensor:
        assert output["step"] == 3
        return loss(output)

    def stock(net: nn.Module, x: Tensor) -> list[Tensor | None]:
        leaf = x.clone().requires_grad_()
        output = net(leaf)
        (g,) = torch.autograd.grad(output["source"].sum(), leaf, create_graph=True)
        return list(
            torch.autograd.grad(loss(output) + g.square().sum() / 4, [leaf, *net.parameters()], allow_unused=True)
        )

    net, x = Dict(), torch.randn(4, 6)
    leaf = x.clone().requires_grad_()
    output, penalty = PenalizedDiscriminator(net, R1(2.0), select="source")(leaf)
    ours = torch.autograd.grad(counted(output) + penalty, [leaf, *net.parameters()], allow_unused=True)
    assert_same(ours, stock(net, x))
    with pytest.raises(ValueError, match="select must be an index"):
        PenalizedDiscriminator(net, R1())(x)


@dataclasses.dataclass
class Verdict:
    logits: Tensor


def test_outputs_of_classes_that_torch_does_not_know() -> None:
    class Wrapped(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = SixLayers()

        def forward(self, x: Tensor) -> Verdict:
            return Verdict(self.net(x))

    net, x = Wrapped(), torch.randn(2, 3, 16, 16)
    module = PenalizedDiscriminator(net, R1(2.0), select="logits")
    output, penalty = module(x)
    ours = torch.autograd.grad(SOFTPLUS(output.logits) + penalty, list(net.parameters()))
    expected = penalized_step(PenalizedDiscriminator(net.net, R1(2.0)), x, (), SOFTPLUS)
    assert_same(ours, expected[3:])
    explanation = module.explain()["real"]
    assert "cannot be taken apart" in str(explanation) and not any(step.on_tape for step in explanation.steps)


def test_scales_of_one_and_of_several_outputs_on_the_same_input() -> None:
    class Mixed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.whole, self.parts = nn.Linear(6, 1), nn.Linear(6, 3)

        def forward(self, x: Tensor) -> list[Tensor]:
            x = x + x.square()
            return [self.whole(x), F.relu(x) * 2, self.parts(x)]

    for loss in LOSSES.values():
        compare(Mixed(), torch.randn(4, 6), R1(2.0), of_all(loss), select=everything, path="tail")


def test_tensor_selected_twice_counts_twice() -> None:
    compare(SixLayers(), torch.randn(2, 3, 16, 16), R1(2.0), SOFTPLUS, select=lambda out: [out, out])


def test_disjoint_scales_take_four_passes_where_each_is_proportional() -> None:
    net, x = MultiScale(), torch.randn(2, 1, 40)
    module = PenalizedDiscriminator(net, R1(2.0), select=everything)
    counts = []
    for loss in ("wasserstein", "softplus"):
        with Convolutions() as counted:
            penalized_step(module, x, (), of_all(LOSSES[loss]))
        counts.append(counted.count)
    layers = 12
    assert counts == [4 * layers, 6 * layers]


def test_loss_that_does_not_see_the_penalised_output() -> None:
    net, x = PatchGAN(), torch.randn(2, 3, 32, 32)
    ours = torch.autograd.grad(gradient_penalty(net, x, penalty=R1(2.0)), list(net.parameters()), allow_unused=True)
    x.requires_grad_()
    (g,) = torch.autograd.grad(net(x).sum(), x, create_graph=True)
    assert_same(ours, torch.autograd.grad(g.square().sum() / 2, list(net.parameters()), allow_unused=True))


def test_input_with_a_history() -> None:
    generator, net = nn.Linear(4, 6), MLP().eval()
    z = torch.randn(3, 4)
    out, penalty = PenalizedDiscriminator(net, R1(2.0))(generator(z))
    ours = torch.autograd.grad(SOFTPLUS(out) + penalty, [*generator.parameters(), *net.parameters()])
    x = generator(z)
    out = net(x)
    (g,) = torch.autograd.grad(out.sum(), x, create_graph=True)
    stock = SOFTPLUS(out) + g.square().sum() / 3
    assert_same(ours, torch.autograd.grad(stock, [*generator.parameters(), *net.parameters()]))


def test_conditions_with_a_history() -> None:
    class Projected(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.trunk, self.last = nn.Linear(6, 5), nn.Linear(5, 1)

        def forward(self, x: Tensor, e: Tensor) -> Tensor:
            h = F.leaky_relu(self.trunk(x) + e, 0.2)
            return self.last(h) + (h * e).sum(1, keepdim=True)

    net, embed, x = Projected(), nn.Linear(3, 5), torch.randn(4, 6)
    parameters = [*net.parameters(), *embed.parameters()]
    y = torch.randn(4, 3)
    module = PenalizedDiscriminator(net, R1(2.0))
    out, penalty = module(x, embed(y))
    ours = torch.autograd.grad(SOFTPLUS(out) + penalty, parameters)
    x.requires_grad_()
    out = net(x, embed(y))
    (g,) = torch.autograd.grad(out.sum(), x, create_graph=True)
    assert_same(ours, torch.autograd.grad(SOFTPLUS(out) + g.square().sum() / 4, parameters))
    assert module.explain()["real"].path == "four passes"


@pytest.mark.parametrize("make", [SixLayers, SNGAN])
def test_sixty_training_steps_equal_stock_s(make: Any) -> None:
    ours = make()
    theirs = copy.deepcopy(ours)
    module = PenalizedDiscriminator(ours, [R1(1.0), R2(1.0)])
    optimizers = [torch.optim.Adam(m.parameters(), 1e-3, betas=(0.0, 0.9)) for m in (module, theirs)]
    size, labels = (8, (torch.tensor([0, 2]),)) if make is SNGAN else (16, ())
    for _ in range(60):
        x, fake = torch.randn(2, 2, 3, size, size)
        out, fake_out, penalty = module(x, *labels, fake=fake)
        loss = SOFTPLUS(out) + SOFTPLUS(-fake_out) + penalty
        expected = torch.zeros(())
        for samples, sign in ((x, 1), (fake, -1)):
            leaf = samples.clone().requires_grad_()
            out = theirs(leaf, *labels)
            (g,) = torch.autograd.grad(out.sum(), leaf, create_graph=True)
            expected = expected + SOFTPLUS(sign * out) + 0.5 * g.square().sum() / 2
        for optimizer, value in zip(optimizers, (loss, expected), strict=True):
            optimizer.zero_grad()
            value.backward()
            optimizer.step()
        assert abs(loss.item() - expected.item()) <= 1e-9 * max(1.0, abs(expected.item()))
    for a, e in zip(ours.state_dict().values(), theirs.state_dict().values(), strict=True):
        assert (a - e).abs().max() <= 1e-9


def test_no_graph_under_no_grad() -> None:
    net, x = BatchNorm().eval(), torch.randn(4, 3, 16, 16)
    module = PenalizedDiscriminator(net, R1(2.0))
    with torch.no_grad():
        out, penalty = module(x)
    assert not out.requires_grad and not penalty.requires_grad
    assert_same([out, penalty], list(module(x)))


def test_state_is_the_discriminator_s() -> None:
    net = SNGAN()
    module = PenalizedDiscriminator(net, R1())
    assert list(module.state_dict()) == list(net.state_dict())
    assert [name for name, _ in module.named_parameters()] == [name for name, _ in net.named_parameters()]
    other = SNGAN()
    module.load_state_dict(other.state_dict())
    assert_same(list(net.state_dict().values()), list(other.state_dict().values()))
    assert not module.eval().training and not net.training and not net.blocks[0].conv1.training
    assert net.float() is net and next(module.parameters()).dtype is torch.float32
    module.double()
    assert next(net.parameters()).dtype is torch.float64
    copied = copy.deepcopy(module)
    assert copied.discriminator._modules is copied._modules and copied._modules is not net._modules


def test_compiled_discriminator_equals_eager() -> None:
    net, x = SixLayers(), torch.randn(2, 3, 16, 16)
    eager = penalized_step(PenalizedDiscriminator(net, R1()), x, (), SOFTPLUS)
    compiled = PenalizedDiscriminator(torch.compile(net, backend="aot_eager"), R1())
    assert_same(penalized_step(compiled, x, (), SOFTPLUS), eager)
    net[4] = torch.compile(net[4], backend="aot_eager")
    partly = PenalizedDiscriminator(net, R1())
    assert_same(penalized_step(partly, x, (), SOFTPLUS), eager)
    assert partly.explain()["real"].path == "four passes"
    outside = torch.compile(partly, backend="aot_eager")
    assert_same(penalized_step(outside, x, (), SOFTPLUS), eager)


def test_lower_precision_stays_near() -> None:
    torch.set_default_dtype(torch.float32)
    net, x = SixLayers(), torch.randn(3, 3, 16, 16)
    exact = stock_step(copy.deepcopy(net).double(), x.double(), (), R1(2.0), SOFTPLUS, None)
    module = PenalizedDiscriminator(net, R1(2.0))
    assert_same([t.double() for t in penalized_step(module, x, (), SOFTPLUS)], exact, 1e-5)
    with torch.autocast("cpu", torch.bfloat16):
        out, penalty = module(x)
        loss = SOFTPLUS(out) + penalty
    grads = torch.autograd.grad(1024 * loss, list(net.parameters()))
    assert all(g.dtype is torch.float32 for g in grads)
    assert_same([g.double() / 1024 for g in grads], exact[3:], 0.1)
    assert module.explain()["real"].path == "four passes"


def test_loss_scaling_in_float16() -> None:
    torch.set_default_dtype(torch.float32)
    net, x = SixLayers(), 20 * torch.randn(3, 3, 16, 16)
    exact = stock_step(copy.deepcopy(net).double(), x.double(), (), R1(2.0), SOFTPLUS, None)
    scale = 2.0**16  # times an activation it is beyond float16
    with torch.autocast("cpu", torch.float16):
        out, penalty = PenalizedDiscriminator(net, R1(2.0))(x)
        loss = SOFTPLUS(out.float()) + penalty
    grads = torch.autograd.grad(scale * loss, list(net.parameters()))
    assert_same([g.double() / scale for g in grads], exact[3:], 0.02)


def test_parameter_used_as_it_is_and_normalised() -> None:
    class Both(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight, self.last = nn.Parameter(torch.randn(6, 6)), nn.Linear(6, 3)

        def forward(self, x: Tensor) -> Tensor:
            h = F.leaky_relu(F.linear(x, self.weight), 0.2)
            return self.last(F.relu(F.linear(h, self.weight / self.weight.norm())) + F.linear(h, self.weight))

    compare(Both(), torch.randn(4, 6), R1(2.0), SOFTPLUS, path="six passes")


def test_arguments_are_checked() -> None:
    with pytest.raises(TypeError, match="discriminator must be an nn"):
        PenalizedDiscriminator(lambda x: x, R1())  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="penalty must be a Penalty"):
        PenalizedDiscriminator(MLP(), [torch.relu])  # type: ignore[list-item]
    with pytest.raises(ValueError, match="fake must be given for WGANGP"):
        PenalizedDiscriminator(MLP(), WGANGP())(torch.randn(2, 6))
    with pytest.raises(ValueError, match=r"R1: every must be at least 1"):
        R1(every=0)
    with pytest.raises(ValueError, match=r"WGANGP: fake must be \[2, 6\]"):
        WGANGP().place(torch.randn(2, 6), torch.randn(3, 6))
    assert fastgan.penalties.R1(2.0).gamma == 2.0 and BOUND == 1e-10


class Synchronisations(TorchDispatchMode):
    """What would wait for a GPU, or keep a CUDA graph from being captured."""

    names = ("_local_scalar_dense", "nonzero", "item", "equal", "is_nonzero", "masked_select")

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func._schema.name.partition("::")[2] in self.names:
            self.seen.append(func._schema.name)
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("name", ["dcgan", "sngan", "r3gan", "video", "mlp"])
def test_nothing_waits_for_the_device(name: str) -> None:
    network = NETWORKS[name]
    module, x = PenalizedDiscriminator(network.make(), R1(2.0)), torch.randn(network.shape)
    penalized_step(module, x, network.conditions(), SOFTPLUS)
    with Synchronisations() as found:
        penalized_step(module, x, network.conditions(), SOFTPLUS)
    assert found.seen == []


def test_wasserstein_loss_of_patches_takes_four_passes() -> None:
    module, x = PenalizedDiscriminator(PatchGAN(), R1(2.0)), torch.randn(2, 3, 32, 32)
    with Convolutions() as counted:
        penalized_step(module, x, (), LOSSES["wasserstein"])
    assert counted.count == 20


def test_nothing_is_kept_after_the_backward() -> None:
    net, x = dcgan(), torch.randn(2, 3, 64, 64)
    out, penalty = PenalizedDiscriminator(net, R1(2.0))(x)
    loss = SOFTPLUS(out) + penalty
    nodes, pending, branches = set(), [loss.grad_fn], set()
    while pending:
        node = pending.pop()
        if node is not None and node not in nodes:
            nodes.add(node)
            pending += [following for following, _ in node.next_functions]
            branches.update([node.branch] if hasattr(node, "branch") else [])
    (branch,) = branches
    assert len(branch.nodes) == 9
    loss.backward()
    assert branch.nodes == [] and branch.gradients == {}


def test_backward_hooks_of_modules_see_what_autograd_shows_them() -> None:
    net, x, seen = SixLayers(), torch.randn(2, 3, 16, 16), []
    twin = copy.deepcopy(net)
    net[4].register_full_backward_hook(lambda module, of_input, of_output: seen.append(of_output[0].shape))
    actual = penalized_step(PenalizedDiscriminator(net, R1(2.0)), x, (), SOFTPLUS)
    assert_same(actual, stock_step(twin, x, (), R1(2.0), SOFTPLUS, None))
    assert seen


def test_explanation_reads_line_by_line() -> None:
    module = PenalizedDiscriminator(BatchNorm(), R1())
    module(torch.randn(4, 3, 16, 16))
    text = str(module.explain()["real"])
    assert text.startswith("tail") and module.explain()["real"].passes is None
    assert [line.split()[0] for line in text.splitlines()[1:]] == ["double"] * 5 + ["tape"] * 4
    assert "5.weight, 5.bias" in text and "batch_norm" in text


def test_two_processes_equal_one_on_the_joined_batch() -> None:
    script = str(Path(__file__).with_name("ddp_run.py"))
    result = run_python("-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2", script)
    assert "process 0 agrees" in result.stdout and "process 1 agrees" in result.stdout
