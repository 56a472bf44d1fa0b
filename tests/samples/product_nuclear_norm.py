"""The inputs of product_nuclear_norm."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from tests.samples.sample import Sample, laid_out

__all__ = ["SAMPLES"]


def _sample(name: str, shape1: tuple[int, ...], shape2: tuple[int, ...], layout: str = "contiguous") -> Sample:
    def make(generator: torch.Generator) -> dict[str, Any]:
        def normal(*size: int) -> Tensor:
            return torch.randn(size, generator=generator, dtype=torch.float64)

        return {"x": laid_out(shape1, layout, normal), "y": normal(*shape2)}

    return Sample("product_nuclear_norm", name, make, keeps_layout=False, accumulated=True, float32_error=1e-5)


SAMPLES = [
    _sample("typical", (2, 3, 7), (2, 4, 7)),
    _sample("single", (4, 6), (2, 6)),
    _sample("broadcast", (3, 1, 2, 5), (2, 3, 5)),
    _sample("more-samples-than-features", (2, 6, 3), (2, 2, 3)),
    _sample("many-of-both", (7, 3), (6, 3)),
    _sample("gaps", (2, 3, 5), (2, 2, 5), "gaps"),
    _sample("expanded", (3, 2, 5), (3, 3, 5), "expanded"),
    _sample("transposed", (2, 3, 5), (2, 3, 5), "transposed"),
    _sample("one", (1, 1, 1), (1, 1, 1)),
    _sample("empty-batch", (0, 3, 5), (2, 5)),
]
