"""Every metric on given features: how it is made, and what it is shown, sample by sample."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from fastgan import metrics
from fastgan.metrics.base import FeatureMetric

D = 6


@dataclass(frozen=True)
class Group:
    """Samples that go to ``update`` with the same flags; tensors by argument, one row a sample."""

    tensors: dict[str, Tensor]
    flags: dict[str, bool]

    def __len__(self) -> int:
        return len(next(iter(self.tensors.values())))

    def part(self, rows: slice) -> dict[str, Any]:
        return {name: tensor[rows] for name, tensor in self.tensors.items()} | self.flags


class Case(NamedTuple):
    make: Callable[[], FeatureMetric]
    groups: list[Group]


def _samples(n: int, seed: int, offset: float = 0.0) -> Tensor:
    random = torch.Generator().manual_seed(seed)
    mix = torch.randn(D, D, generator=random, dtype=torch.float64)
    return torch.randn(n, D, generator=random, dtype=torch.float64) @ mix + offset


def _pair(offset: float = 0.0) -> list[Group]:
    real, fake = _samples(30, 0, offset), _samples(37, 1, offset + 0.3)
    return [Group({"imgs": real}, {"real": True}), Group({"imgs": fake}, {"real": False})]


def _cases() -> dict[str, Case]:
    held_out = Group({"imgs": _samples(11, 2)}, {"real": True, "validation": True})
    labelled = [
        Group(group.tensors | {"labels": torch.arange(len(group)) % 3}, group.flags) for group in _pair(offset=100.0)
    ]
    logits = Group({"imgs": _samples(40, 3)}, {})
    return {
        "FrechetDistance": Case(lambda: metrics.FrechetDistance(None, return_error=True), _pair(offset=100.0)),
        "ClassFrechetDistance": Case(lambda: metrics.ClassFrechetDistance(None, "none"), labelled),
        "FrechetDistanceInfinity": Case(
            lambda: metrics.FrechetDistanceInfinity(None, num_points=4, min_fake=9), _pair(offset=100.0)
        ),
        "KernelDistance": Case(lambda: metrics.KernelDistance(None, subsets=4, subset_size=12), _pair()),
        "PrecisionRecallDensityCoverage": Case(lambda: metrics.PrecisionRecallDensityCoverage(None, 3), _pair()),
        "MaximumMeanDiscrepancy": Case(lambda: metrics.MaximumMeanDiscrepancy(sigma=3.0), _pair()),
        "ParzenLogLikelihood": Case(lambda: metrics.ParzenLogLikelihood([0.5, 1.0, 3.0]), [*_pair(), held_out]),
        "InceptionScore": Case(lambda: metrics.InceptionScore(None, splits=3), [logits]),
    }


CASES = _cases()


def flat(result: Any) -> Tensor:
    """The figures of a result, in one tensor."""
    if isinstance(result, Tensor):
        return result.reshape(-1)
    values = result.values() if isinstance(result, dict) else result
    return torch.cat([flat(value).double() for value in values])


def whole(case: Case) -> FeatureMetric:
    """The metric after one update with each group."""
    metric = case.make()
    for group in case.groups:
        metric.update(**group.part(slice(None)))
    return metric
