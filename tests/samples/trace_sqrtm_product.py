"""The inputs of trace_sqrtm_product."""

from __future__ import annotations

from typing import Any

import torch

from tests.samples.covariances import covariances
from tests.samples.sample import Sample

__all__ = ["SAMPLES"]


def _sample(name: str, shape1: tuple[int, ...], shape2: tuple[int, ...], layout: str = "contiguous") -> Sample:
    def make(generator: torch.Generator) -> dict[str, Any]:
        return {
            "sigma1": covariances(shape1, layout, generator),
            "sigma2": covariances(shape2, "contiguous", generator),
        }

    # Finite differences leave the symmetric matrices, on which alone the derivatives are defined.
    return Sample(
        "trace_sqrtm_product", name, make, numerical=False, keeps_layout=False, accumulated=True, float32_error=1e-5
    )


SAMPLES = [
    _sample("typical", (2, 4, 4), (2, 4, 4)),
    _sample("single", (5, 5), (5, 5)),
    _sample("broadcast", (3, 1, 4, 4), (2, 4, 4)),
    _sample("one-against-many", (4, 4), (3, 4, 4)),
    _sample("gaps", (2, 3, 3), (2, 3, 3), "gaps"),
    _sample("expanded", (3, 3, 3), (3, 3, 3), "expanded"),
    _sample("transposed", (2, 3, 3), (2, 3, 3), "transposed"),
    _sample("one", (1, 1, 1), (1, 1, 1)),
    _sample("empty-batch", (0, 3, 3), (3, 3)),
]
