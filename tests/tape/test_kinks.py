"""Values that lie exactly at kinks, ties, dead units and zero norms: torch's conventions there, whatever they are."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fastgan.functional import bias_act
from fastgan.nn import PenalizedDiscriminator
from fastgan.penalties import R1, WGANGP, WGANLP, Penalty, ZeroCentered
from tests.tape.networks import BatchNorm, PatchGAN, SixLayers, dcgan
from tests.tape.stock import LOSSES, assert_same, compare, penalized_step
from tests.tape.test_rules import OPS, Between, Op

SOFTPLUS = LOSSES["softplus"]


@pytest.fixture(autouse=True)
def _float64() -> Iterator[None]:
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


#: Beside those of the rules, with bounds that quarters of integers meet.
BOUNDED: dict[str, Op] = {
    "relu6": lambda m, h: F.relu6(h),
    "hardtanh": lambda m, h: F.hardtanh(h, -0.5, 0.25),
    "hardshrink": lambda m, h: F.hardshrink(h, 0.5),
    "softshrink": lambda m, h: F.softshrink(h, 0.5),
    "threshold": lambda m, h: F.threshold(h, 0.25, 0.75),
    "clamp": lambda m, h: h.clamp(-0.5, 0.25),
    "clamp to a point": lambda m, h: h.clamp(0.25, 0.25) + h,
    "clamp_min": lambda m, h: h.clamp_min(0.25),
    "clamp_max in place": lambda m, h: h.clamp_max_(0.5),
    "bias_act clamp": lambda m, h: bias_act(h, act="lrelu", gain=1.0, clamp=0.5),
    "minimum and constant": lambda m, h: torch.minimum(h, torch.full_like(h.detach(), 0.25)),
    "maximum of itself": lambda m, h: torch.maximum(h, h.clone()),
    "max of copies": lambda m, h: torch.cat([h, h], 1).max(1)[0],
    "amax of copies": lambda m, h: torch.cat([h, h], 1).amax(1),
    "overlapping pools": lambda m, h: F.max_pool2d(F.max_pool2d(h, 3, 1, 1), 3, 2, 1),
    "where": lambda m, h: torch.where(h >= 0.25, h, -h),
}


class OnTheGrid(Between):
    """Values are quarters of integers, most of them near zero."""

    def __init__(self, op: Op) -> None:
        super().__init__(op)
        with torch.no_grad():
            self.first.weight.copy_(torch.randint(-1, 2, self.first.weight.shape) * (torch.rand(4, 2, 3, 3) < 0.3))
            self.first.bias.copy_(torch.randint(-1, 2, (4,)) / 4)
            self.same.weight.copy_(torch.randint(-1, 2, self.same.weight.shape))
            self.same.bias.zero_()
            self.bias.copy_(torch.randint(-1, 2, (4,)) / 4)


@pytest.mark.parametrize("name", [*OPS, *(f"{name}, bounded" for name in BOUNDED)])
def test_values_at_kinks(name: str) -> None:
    op = BOUNDED[name.removesuffix(", bounded")] if name.endswith(", bounded") else OPS[name]
    x = torch.randint(-2, 3, (3, 2, 6, 8)).double() / 4
    compare(OnTheGrid(op), x, R1(2.0), SOFTPLUS, path="four passes")


@pytest.mark.parametrize(("make", "size"), [(dcgan, 64), (PatchGAN, 32), (BatchNorm, 16)])
def test_constant_images(make: Callable[[], nn.Module], size: int) -> None:
    """Flat images, as of a collapsed generator: equal windows everywhere, and no variance."""
    net = make()
    for x in (torch.zeros(3, 3, size, size), torch.ones(3, 3, size, size)):
        compare(copy.deepcopy(net), x, R1(2.0), SOFTPLUS)


@pytest.mark.parametrize("penalty", [R1(2.0), WGANGP(3.0, 1.0, "real"), WGANLP(3.0, 0.0, "real")])
def test_dead_units(penalty: Penalty) -> None:
    """Rectifiers that no sample passes, then none that any passes."""
    net = nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 4), nn.ReLU(), nn.Linear(4, 1))
    x = torch.randn(4, 6)
    for dead in (slice(0, 3), slice(0, 5)):
        with torch.no_grad():
            net[0].bias[dead] = -100
        compare(copy.deepcopy(net), x, penalty, SOFTPLUS, path="four passes")


@pytest.mark.parametrize(
    "penalty",
    [WGANGP(3.0, 1.0, "real"), WGANGP(3.0, 0.0, "real"), WGANLP(3.0, 0.0, "real"), ZeroCentered(3.0, "real"), R1(3.0)],
)
def test_one_sample_has_no_gradient(penalty: Penalty) -> None:
    net = nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 1))
    x = torch.randn(4, 6)
    with torch.no_grad():
        net[0].weight.abs_()
    x[1] = -100
    module = compare(net, x, penalty, SOFTPLUS, path="four passes")
    found = penalized_step(module, x, (), SOFTPLUS)
    assert all(each is None or each.isfinite().all() for each in found)


@pytest.mark.parametrize("penalty", [WGANGP(3.0, 5.0, "real"), WGANLP(3.0, 5.0, "real")])
def test_norm_at_its_centre(penalty: Penalty) -> None:
    net = nn.Linear(2, 1)
    with torch.no_grad():
        net.weight.copy_(torch.tensor([[3.0, 4.0]]))
    module = compare(net, torch.randn(3, 2), penalty, SOFTPLUS, path="four passes")
    assert module(torch.randn(3, 2))[1].item() == 0


def test_network_that_ignores_its_input() -> None:
    class Constant(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.bias, self.net = nn.Parameter(torch.randn(1)), SixLayers()

        def forward(self, x: Tensor) -> Tensor:
            return self.bias.expand(len(x), 1) + 0 * self.net(x)

    for penalty in (R1(2.0), WGANGP(3.0, 1.0, "real")):
        compare(Constant(), torch.randn(3, 3, 16, 16), penalty, SOFTPLUS)


def test_hardsigmoid_whose_double_backward_torch_lacks() -> None:
    """Against the same function of others."""
    net, x = OnTheGrid(lambda m, h: F.hardsigmoid(h)), torch.randn(3, 2, 6, 8)
    twin = copy.deepcopy(net)
    twin.op = lambda m, h: (h / 6 + 0.5).clamp(0, 1)
    steps = [penalized_step(PenalizedDiscriminator(each, R1(2.0)), x, (), SOFTPLUS) for each in (net, twin)]
    assert_same(*steps, 1e-6)  # torch's sixth is one of float32
