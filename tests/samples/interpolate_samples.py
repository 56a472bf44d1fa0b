"""The inputs of interpolate_samples."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from tests.samples.sample import Sample, laid_out

__all__ = ["SAMPLES"]


def _sample(name: str, shape: tuple[int, ...], layout: str = "contiguous", other: str | None = None) -> Sample:
    def make(generator: torch.Generator) -> dict[str, Any]:
        def normal(*size: int) -> Tensor:
            return torch.randn(size, generator=generator, dtype=torch.float64)

        x, y = laid_out(shape, layout, normal), laid_out(shape, other or layout, normal)
        return {"input": x, "other": y, "eps": torch.rand(shape[0], generator=generator, dtype=torch.float64)}

    return Sample("interpolate_samples", name, make, constants=("eps",))


SAMPLES = [
    _sample("typical", (3, 2, 3, 4)),
    _sample("channels_last", (3, 5, 2, 3), "channels_last"),
    _sample("two-layouts", (2, 3, 2, 3), "channels_last", "contiguous"),
    _sample("gaps", (3, 2, 5), "gaps"),
    _sample("expanded", (4, 3, 5), "expanded"),
    _sample("transposed", (4, 3, 5), "transposed"),
    _sample("expanded-permuted", (3, 2, 4, 4), "expanded-permuted"),
    _sample("offset", (2, 3, 5), "offset"),
    _sample("matrix", (7, 33)),
    _sample("vector", (6,)),
    _sample("one", (1, 1, 1, 1)),
    _sample("long", (2, 3, 7, 97)),
    _sample("empty-batch", (0, 3, 4, 4)),
    _sample("empty-pixels", (2, 3, 0)),
]
