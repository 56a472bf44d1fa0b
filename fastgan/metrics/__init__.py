"""Distances between sets of images, by way of their features; every class is a ``torchmetrics.Metric``.

Names are resolved when first used: torchmetrics is a dependency of the extra ``metrics``.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .class_frechet_distance import ClassFrechetDistance
    from .frechet_distance import FrechetDistance
    from .frechet_distance_infinity import FrechetDistanceInfinity
    from .inception_score import InceptionScore
    from .kernel_distance import KernelDistance
    from .maximum_mean_discrepancy import MaximumMeanDiscrepancy
    from .parzen_log_likelihood import ParzenLogLikelihood
    from .precision_recall_density_coverage import PrecisionRecallDensityCoverage
    from .reference import FrechetReference

_MODULES = {
    "ClassFrechetDistance": "class_frechet_distance",
    "FrechetDistance": "frechet_distance",
    "FrechetDistanceInfinity": "frechet_distance_infinity",
    "FrechetReference": "reference",
    "InceptionScore": "inception_score",
    "KernelDistance": "kernel_distance",
    "MaximumMeanDiscrepancy": "maximum_mean_discrepancy",
    "ParzenLogLikelihood": "parzen_log_likelihood",
    "PrecisionRecallDensityCoverage": "precision_recall_density_coverage",
}

__all__ = [
    "ClassFrechetDistance",
    "FrechetDistance",
    "FrechetDistanceInfinity",
    "FrechetReference",
    "InceptionScore",
    "KernelDistance",
    "MaximumMeanDiscrepancy",
    "ParzenLogLikelihood",
    "PrecisionRecallDensityCoverage",
]


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module 'fastgan.metrics' has no attribute {name!r}")
    try:
        module = importlib.import_module(f"fastgan.metrics.{_MODULES[name]}")
    except ModuleNotFoundError as error:
        if error.name == "torchmetrics":
            raise ImportError(f'fastgan.metrics.{name} needs torchmetrics: pip install "fastgan[metrics]"') from error
        raise
    globals()[name] = getattr(module, name)
    return globals()[name]


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
