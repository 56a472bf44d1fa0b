"""Metrics of given features, against the packages that are used for them."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable

import torch
from torch import Tensor

from fastgan.functional import precision_recall_density_coverage

from ..case import FORWARD, Case, Function, Side, stateless

__all__ = ["cases"]

NEAREST_K = 5
#: Rows of all distances that the reference holds at once.
ROWS = 500


def _features(n: int, d: int) -> Callable[[], tuple[Tensor, ...]]:
    """Two sets that lie in each other's neighbourhoods only in part, rectified as pooled features are."""

    def inputs() -> tuple[Tensor, ...]:
        generator = torch.Generator().manual_seed(0)
        scale = torch.rand(d, generator=generator).square()
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


def _ours(real: Tensor, fake: Tensor) -> tuple[Tensor, ...]:
    return precision_recall_density_coverage(real, fake, NEAREST_K)


def _case(name: str, n: int, d: int, ours: Function, peer: Side, reference: Function, flops: int, quick: bool) -> Case:
    return Case(
        family="metrics",
        name=f"{name} {n}x{n}x{d} float32",
        workload={"metric": name, "samples": [n, n], "features": d, "dtype": "torch.float32"},
        inputs=_features(n, d),
        ours=[Side("fastgan", stateless(ours))],
        peers=[peer],
        reference=stateless(reference),
        dtype=torch.float32,
        bytes={FORWARD: 4 * 2 * n * d},
        flops={FORWARD: flops},
        modes=(FORWARD,),
        quick=quick,
    )


def _prdc_case(n: int, d: int, quick: bool = False) -> Case:
    # Distances within each set once a pair, and between the sets.
    peer = Side("prdc", stateless(_prdc))
    return _case("precision to coverage", n, d, _ours, peer, _all_distances, 2 * d * 2 * n * n, quick)


def cases(device: torch.device) -> list[Case]:
    """The cases; the first has a target: three times the speed of prdc, in a tenth of its memory."""
    return [_prdc_case(10_000, 2048), _prdc_case(1_000, 2048, quick=True)]
