"""The metrics that ``fastgan evaluate`` knows by name, computed from features that are there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from fastgan.features import FeatureNetwork
from fastgan.trainers.config import ConfigError

__all__ = ["LABELS", "SCORES", "Score", "parse_metrics"]

_SUBSET, _SPLITS, _NEIGHBOURS = 1000, 10, 5
# One process has the features of all of them.
_ALONE: dict[str, Any] = {"sync_on_compute": False}

#: How a user reads the figures.
LABELS = {
    "fd": "Fréchet distance",
    "fd_error": "  its estimated numerical error",
    "kid": "kernel distance",
    "kid_std": "  its deviation between subsets",
    "precision": "precision",
    "recall": "recall",
    "density": "density",
    "coverage": "coverage",
    "is": "Inception score",
    "is_std": "  its deviation between splits",
}


@dataclass(frozen=True)
class Score:
    """Figures by name from real features [N, d], fake ones [M, d], their network and a seed."""

    compute: Callable[[Tensor, Tensor, FeatureNetwork, int], dict[str, float]]
    #: Images that each side needs.
    at_least: int


def _compute(metric: Any, real: Tensor, fake: Tensor) -> Any:
    metric.to(real.device)
    metric.update(real, real=True)
    metric.update(fake, real=False)
    return metric.compute()


def _frechet(real: Tensor, fake: Tensor, network: FeatureNetwork, seed: int) -> dict[str, float]:
    from fastgan.metrics import FrechetDistance

    distance, error = _compute(FrechetDistance(feature=None, return_error=True, **_ALONE), real, fake)
    return {"fd": float(distance), "fd_error": float(error)}


def _kernel(real: Tensor, fake: Tensor, network: FeatureNetwork, seed: int) -> dict[str, float]:
    from fastgan.functional import polynomial_mmd
    from fastgan.metrics import KernelDistance

    if min(len(real), len(fake)) <= _SUBSET:
        return {"kid": float(polynomial_mmd(real, fake))}
    metric = KernelDistance(feature=None, subset_size=_SUBSET, seed=seed, **_ALONE)
    mean, deviation = _compute(metric, real, fake)
    return {"kid": float(mean), "kid_std": float(deviation)}


def _prdc(real: Tensor, fake: Tensor, network: FeatureNetwork, seed: int) -> dict[str, float]:
    from fastgan.metrics import PrecisionRecallDensityCoverage

    metric = PrecisionRecallDensityCoverage(feature=None, nearest_k=_NEIGHBOURS, **_ALONE)
    return {name: float(value) for name, value in _compute(metric, real, fake).items()}


def _inception(real: Tensor, fake: Tensor, network: FeatureNetwork, seed: int) -> dict[str, float]:
    from fastgan.metrics import InceptionScore

    metric = InceptionScore(feature=None, splits=min(_SPLITS, len(fake)), seed=seed, **_ALONE)
    metric.update(network.logits(fake))
    mean, deviation = metric.compute()
    return {"is": float(mean), "is_std": float(deviation)}


SCORES = {
    "fd": Score(_frechet, 2),
    "kid": Score(_kernel, 2),
    "prdc": Score(_prdc, _NEIGHBOURS + 1),
    "is": Score(_inception, 1),
}


def parse_metrics(text: str) -> list[str]:
    """Split names at commas; ConfigError lists what exists where one is unknown."""
    names = list(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))
    for name in names:
        if name not in SCORES:
            raise ConfigError(f"unknown metric {name!r}; there are: {', '.join(SCORES)}")
    if not names:
        raise ConfigError(f"no metrics given; there are: {', '.join(SCORES)}")
    return names
