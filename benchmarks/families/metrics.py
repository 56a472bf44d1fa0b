"""Metrics of given features, against the packages that are used for them."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from fastgan.functional import precision_recall_density_coverage

from ..case import FORWARD, Case, Function, Side, stateless

__all__ = ["cases"]

NEAREST_K = 5
#: Features given at once.
BATCH = 500
#: Rows of all distances that the reference holds at once.
ROWS = 500


def _features(n: int, d: int) -> Callable[[], tuple[Tensor, ...]]:
    """Two sets that lie in each other's neighbourhoods only in part, rectified as pooled features are."""

    def inputs() -> tuple[Tensor, ...]:
        generator = torch.Generator().manual_seed(0)
        scale = 0.1 + torch.rand(d, generator=generator).square()
        real, fake = ((torch.randn(n, d, generator=generator) * scale + shift).relu() for shift in (0.1, 0.11))
        return real, fake

    return inputs


def _all_distances(real: Tensor, fake: Tensor) -> tuple[Tensor, ...]:
    """The definition, by all distances, some rows at a time."""

    def balls(x: Tensor) -> Tensor:  # the nearest is the sample itself
        return torch.cat([torch.cdist(rows, x).kthvalue(NEAREST_K + 1).values for rows in x.split(ROWS)])

    real_balls, fake_balls = balls(real), balls(fake)
    found = []
    for rows, radius in zip(real.split(ROWS), real_balls.split(ROWS), strict=True):
        distances = torch.cdist(rows, fake)
        within = distances < radius[:, None]
        found.append((within.sum(0), within.any(1), (distances < fake_balls).any(1)))
    counts = torch.stack([count for count, _, _ in found]).sum(0).double()
    covered, recalled = (torch.cat([flags[i] for flags in found]).double() for i in (1, 2))
    return (counts > 0).double().mean(), recalled.mean(), counts.mean() / NEAREST_K, covered.mean()


def _prdc(real: Tensor, fake: Tensor) -> tuple[Tensor, ...]:
    from prdc import compute_prdc

    with contextlib.redirect_stdout(io.StringIO()):
        result = compute_prdc(real.numpy(), fake.numpy(), NEAREST_K)
    return tuple(torch.tensor(result[name]) for name in ("precision", "recall", "density", "coverage"))


def _prdc_float64(real: Tensor, fake: Tensor) -> tuple[Tensor, ...]:
    """Given float32, prdc rounds distances to it, and may count a pair otherwise."""
    return _prdc(real.double(), fake.double())


def _ours(real: Tensor, fake: Tensor) -> tuple[Tensor, ...]:
    return precision_recall_density_coverage(real, fake, NEAREST_K)


def _updated(metric: Any, real: Tensor, fake: Tensor) -> Tensor:
    for side, features in ((True, real), (False, fake)):
        for batch in features.split(BATCH):
            metric.update(batch, real=side)
    return metric.compute()


def _frechet(real: Tensor, fake: Tensor) -> Tensor:
    from fastgan.metrics import FrechetDistance

    return _updated(FrechetDistance(None), real, fake)


class _Given(nn.Module):
    """torchmetrics' way to take features."""

    def __init__(self, num_features: int) -> None:
        super().__init__()
        self.num_features = num_features

    def forward(self, x: Tensor) -> Tensor:
        return x


def _torchmetrics(real: Tensor, fake: Tensor) -> Tensor:
    from torchmetrics.image.fid import FrechetInceptionDistance

    metric = FrechetInceptionDistance(_Given(real.shape[1])).set_dtype(torch.float64)
    return _updated(metric, real, fake).double()


def _by_eigenvalues(real: Tensor, fake: Tensor) -> Tensor:
    """The definition: the root's trace by a symmetric root of one covariance and the eigenvalues it leaves."""
    first, second = real.T.cov(), fake.T.cov()
    values, vectors = torch.linalg.eigh(first)
    root = vectors * values.clamp(min=0).sqrt() @ vectors.T
    trace = torch.linalg.eigvalsh(root @ second @ root).clamp(min=0).sqrt().sum()
    return (real.mean(0) - fake.mean(0)).square().sum() + first.trace() + second.trace() - 2 * trace


def _case(
    name: str,
    n: int,
    d: int,
    ours: Function,
    peers: list[Side],
    reference: Function,
    flops: int,
    quick: bool,
    overhead: bool = False,
) -> Case:
    return Case(
        family="metrics",
        name=f"{name} {n}x{n}x{d} float32",
        workload={"metric": name, "samples": [n, n], "features": d, "dtype": "torch.float32"},
        inputs=_features(n, d),
        ours=[Side("fastgan", stateless(ours))],
        peers=peers,
        reference=stateless(reference),
        dtype=torch.float32,
        bytes={FORWARD: 4 * 2 * n * d},
        flops={FORWARD: flops},
        modes=(FORWARD,),
        quick=quick,
        overhead=overhead,
    )


def _prdc_case(n: int, d: int, quick: bool = False) -> Case:
    # Distances within each set once a pair, and between the sets.
    peers = [Side("prdc", stateless(_prdc)), Side("prdc in float64", stateless(_prdc_float64))]
    return _case("precision to coverage", n, d, _ours, peers, _all_distances, 2 * d * 2 * n * n, quick)


def _frechet_case(n: int, d: int, quick: bool = False, overhead: bool = False) -> Case:
    # One triangle of each scatter matrix; then a factorisation, a triangular product and eigenvalues.
    flops = 2 * n * d * d + 4 * d**3
    peers = [Side("torchmetrics", stateless(_torchmetrics))]
    return _case("Fréchet distance", n, d, _frechet, peers, _by_eigenvalues, flops, quick, overhead)


def cases(device: torch.device) -> list[Case]:
    """The cases; the first has a target: three times the speed of prdc, in a tenth of its memory."""
    return [
        _prdc_case(10_000, 2048),
        _prdc_case(1_000, 2048, quick=True),
        _frechet_case(50_000, 2048),
        _frechet_case(2_000, 256, quick=True),
        _frechet_case(16, 4, quick=True, overhead=True),
    ]
