"""The inputs of sqrtm_psd, and of the op that finds its eigenvectors."""

from __future__ import annotations

from typing import Any

import torch

from tests.samples.covariances import covariances
from tests.samples.sample import Sample

__all__ = ["SAMPLES", "samples"]


def _sample(op: str, name: str, shape: tuple[int, ...], layout: str = "contiguous") -> Sample:
    def make(generator: torch.Generator) -> dict[str, Any]:
        return {"matrix": covariances(shape, layout, generator)}

    # Finite differences leave the symmetric matrices, on which alone the derivatives are defined.
    return Sample(op, name, make, function="sqrtm_psd", numerical=False, keeps_layout=False, float32_error=1e-5)


def samples(op: str) -> list[Sample]:
    return [
        _sample(op, "typical", (3, 4, 4)),
        _sample(op, "single", (5, 5)),
        _sample(op, "gaps", (2, 3, 3), "gaps"),
        _sample(op, "expanded", (3, 3, 3), "expanded"),
        _sample(op, "transposed", (2, 3, 3), "transposed"),
        _sample(op, "odd", (2, 1, 17, 17)),
        _sample(op, "one", (2, 1, 1)),
        _sample(op, "empty-batch", (0, 3, 3)),
    ]


SAMPLES = samples("sqrtm_psd")
