"""Random architectures: whatever runs on the tape, and whatever is left to autograd, equals stock double backward."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import hypothesis.strategies as st
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm, weight_norm

import fastgan
from fastgan.penalties import R1, WGANGP, WGANLP
from tests.tape.stock import LOSSES, compare


class Residual(nn.Module):
    def __init__(self, channels: int, inner: nn.Module) -> None:
        super().__init__()
        self.inner, self.skip = inner, nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(x) + self.skip(x)


class Forked(nn.Module):
    """Two heads on a trunk, which is an output too."""

    def __init__(self, trunk: list[str], first: list[str], second: list[str], heads: tuple[str, str]) -> None:
        super().__init__()
        self.trunk = nn.Sequential(nn.Conv2d(2, 4, 3, padding=1), *(PARTS[part]() for part in trunk))
        self.heads = nn.ModuleList(
            nn.Sequential(*(PARTS[part]() for part in parts), HEADS[head]())
            for parts, head in zip((first, second), heads, strict=True)
        )

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        h = self.trunk(x)
        return self.heads[0](h), self.heads[1](h), h


class Function(nn.Module):
    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)


#: Each keeps ``[N, 4, 8, 8]``.
PARTS: dict[str, Callable[[], nn.Module]] = {
    "conv": lambda: nn.Conv2d(4, 4, 3, padding=1),
    "grouped": lambda: nn.Conv2d(4, 4, 3, padding=1, groups=2, bias=False),
    "spectral": lambda: spectral_norm(nn.Conv2d(4, 4, 3, padding=1)),
    "our spectral": lambda: fastgan.nn.utils.spectral_norm(nn.Conv2d(4, 4, 1)),
    "weight norm": lambda: weight_norm(nn.Conv2d(4, 4, 1)),
    "down and up": lambda: nn.Sequential(nn.Conv2d(4, 6, 4, 2, 1), nn.ConvTranspose2d(6, 4, 4, 2, 1)),
    "relu": nn.ReLU,
    "relu in place": lambda: nn.Sequential(nn.Conv2d(4, 4, 1), nn.ReLU(inplace=True)),
    "leaky": lambda: nn.LeakyReLU(0.2),
    "prelu": lambda: nn.PReLU(4),
    "relu6": nn.ReLU6,
    "maxout": lambda: Function(lambda x: torch.cat([torch.maximum(*x.chunk(2, 1))] * 2, 1)),
    "pool": lambda: nn.Sequential(nn.AvgPool2d(2), nn.Upsample(scale_factor=2)),
    "max pool": lambda: nn.MaxPool2d(3, 1, 1),
    "dropout": lambda: nn.Dropout2d(0.3),
    "residual": lambda: Residual(4, nn.Sequential(nn.LeakyReLU(0.1), nn.Conv2d(4, 4, 3, padding=1))),
    "pixels": lambda: nn.Sequential(nn.PixelUnshuffle(2), nn.Conv2d(16, 16, 1, groups=4), nn.PixelShuffle(2)),
    "rows": lambda: Function(lambda x: F.relu(x.permute(0, 2, 1, 3)).permute(0, 2, 1, 3)),
    "batch norm": lambda: nn.BatchNorm2d(4),
    "batch norm in place": lambda: nn.Sequential(nn.BatchNorm2d(4), nn.LeakyReLU(0.2, inplace=True)),
    "folded": lambda: Function(lambda x: F.leaky_relu(x.reshape(-1, 2, 8, 8) + 0.1).reshape(x.shape)),
    "slices": lambda: Function(lambda x: torch.cat([x, 2 * x + 1], 1)[:, ::2]),
    "added in place": lambda: Function(lambda x: F.leaky_relu(x, 0.3).mul_(2).add_(x)),
    "noise": lambda: Function(lambda x: x + 0.1 * torch.randn_like(x) * x.detach().std()),
    "silu": nn.SiLU,
    "group norm": lambda: nn.GroupNorm(2, 4),
    "gate": lambda: Function(lambda x: x * torch.sigmoid(x.mean((2, 3), keepdim=True))),
    "deviation": lambda: Function(lambda x: x + (x.var(0, correction=0, keepdim=True) + 1).sqrt()),
}
HEADS: dict[str, Callable[[], nn.Module]] = {
    "sum": lambda: nn.Sequential(Function(lambda x: x.sum((2, 3))), nn.Linear(4, 1)),
    "flat": lambda: nn.Sequential(nn.Flatten(), nn.Linear(256, 1), nn.Flatten(0)),
    "patches": lambda: nn.Conv2d(4, 1, 4, 2),
}


@settings(max_examples=60, deadline=None, derandomize=True, database=None)
@given(
    parts=st.lists(st.sampled_from(sorted(PARTS)), max_size=6),
    head=st.sampled_from(sorted(HEADS)),
    loss=st.sampled_from(sorted(LOSSES)),
    penalty=st.sampled_from([R1(2.0), WGANGP(3.0, 0.5, "real"), WGANLP(3.0, 0.1, "real")]),
    samples=st.integers(1, 3),
    training=st.booleans(),
    seed=st.integers(0, 1000),
)
def test_any_network_equals_stock(
    parts: list[str], head: str, loss: str, penalty: R1, samples: int, training: bool, seed: int
) -> None:
    torch.manual_seed(seed)
    net = nn.Sequential(nn.Conv2d(2, 4, 3, padding=1), *(PARTS[part]() for part in parts), HEADS[head]())
    compare(net.double().train(training), torch.randn(samples, 2, 8, 8, dtype=torch.float64), penalty, LOSSES[loss])


SOME = st.lists(st.sampled_from(sorted(PARTS)), max_size=3)


@settings(max_examples=40, deadline=None, derandomize=True, database=None)
@given(
    parts=st.tuples(SOME, SOME, SOME),
    heads=st.tuples(st.sampled_from(sorted(HEADS)), st.sampled_from(sorted(HEADS))),
    used=st.sets(st.integers(0, 2), min_size=1),
    select=st.sampled_from([0, 1, lambda outputs: outputs[:2], lambda outputs: outputs]),
    loss=st.sampled_from(sorted(LOSSES)),
    samples=st.integers(1, 3),
    seed=st.integers(0, 1000),
)
def test_any_network_of_several_outputs_equals_stock(
    parts: tuple[list[str], list[str], list[str]],
    heads: tuple[str, str],
    used: set[int],
    select: Any,
    loss: str,
    samples: int,
    seed: int,
) -> None:
    torch.manual_seed(seed)
    net = Forked(*parts, heads).double().eval()
    x = torch.randn(samples, 2, 8, 8, dtype=torch.float64)

    def of_used(outputs: tuple[Tensor, ...]) -> Tensor:
        return torch.stack([LOSSES[loss](outputs[i]) for i in used]).sum()

    compare(net, x, R1(2.0), of_used, select=select)


COMBINATIONS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "first": lambda a, b: a,
    "sum": lambda a, b: a + b,
    "difference": lambda a, b: a - 0.5 * b,
    "maximum": torch.maximum,
    "halves": lambda a, b: torch.cat([a[:, :2], b[:, 2:]], 1),
    "product": lambda a, b: a * b,
}


class Graph(nn.Module):
    """Parts joined at random, and heads, some of them the same module, on any of the values."""

    def __init__(self, steps: list[tuple[str, str, int, int]], heads: list[tuple[str, int]]) -> None:
        super().__init__()
        self.first, self.steps, self.heads = nn.Conv2d(2, 4, 3, padding=1), steps, heads
        self.parts = nn.ModuleList(PARTS[part]() for part, *_ in steps)
        self.head = nn.ModuleDict({name: HEADS[name]() for name, _ in heads})

    def forward(self, x: Tensor) -> list[Tensor]:
        values = [self.first(x)]
        for part, (_, how, i, j) in zip(self.parts, self.steps, strict=True):
            values.append(part(COMBINATIONS[how](values[i % len(values)], values[j % len(values)])))
        return [self.head[name](values[i % len(values)]) for name, i in self.heads]


INDEX = st.integers(0, 5)


@settings(max_examples=60, deadline=None, derandomize=True, database=None)
@given(
    steps=st.lists(
        st.tuples(st.sampled_from(sorted(PARTS)), st.sampled_from(sorted(COMBINATIONS)), INDEX, INDEX), max_size=5
    ),
    heads=st.lists(st.tuples(st.sampled_from(sorted(HEADS)), INDEX), min_size=1, max_size=3),
    used=st.sets(st.integers(0, 2), min_size=1),
    select=st.sampled_from([0, lambda outputs: outputs[:2], lambda outputs: outputs[-1].flatten(1).mean(1)]),
    loss=st.sampled_from(sorted(LOSSES)),
    penalty=st.sampled_from([R1(2.0), WGANGP(3.0, 0.5, "real")]),
    samples=st.integers(1, 3),
    seed=st.integers(0, 1000),
)
def test_any_graph_equals_stock(
    steps: list[tuple[str, str, int, int]],
    heads: list[tuple[str, int]],
    used: set[int],
    select: Any,
    loss: str,
    penalty: R1,
    samples: int,
    seed: int,
) -> None:
    torch.manual_seed(seed)
    net = Graph(steps, heads).double().eval()
    x = torch.randn(samples, 2, 8, 8, dtype=torch.float64)

    def of_used(outputs: list[Tensor]) -> Tensor:
        return torch.stack([LOSSES[loss](outputs[i % len(outputs)]) for i in used]).sum()

    if callable(select) and heads[-1][0] == "flat":
        select = 0  # flattened outputs have no second dimension
    compare(net, x, penalty, of_used, select=select)
