"""The inputs of upsample_add."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from tests.samples.sample import Sample, laid_out

__all__ = ["SAMPLES"]


def _sample(name: str, low: tuple[int, ...], layouts: tuple[str, str] = ("contiguous", "contiguous")) -> Sample:
    """`low` is the shape of the smaller image, and `layouts` those of the larger and of the smaller one."""

    def make(generator: torch.Generator) -> dict[str, Any]:
        def normal(*size: int) -> Tensor:
            return torch.randn(size, generator=generator, dtype=torch.float64)

        n, c, h, w = low
        return {"input": laid_out((n, c, 2 * h, 2 * w), layouts[0], normal), "low": laid_out(low, layouts[1], normal)}

    return Sample("upsample_add", name, make, keeps_layout=False)


SAMPLES = [
    _sample("typical", (2, 3, 3, 4)),
    _sample("channels_last", (2, 5, 2, 3), ("channels_last", "channels_last")),
    _sample("gaps", (2, 3, 2, 3), ("gaps", "channels_last")),
    _sample("expanded", (2, 3, 2, 3), ("expanded", "expanded")),
    _sample("one-pixel", (2, 3, 1, 1)),
    _sample("empty-batch", (0, 3, 2, 2)),
]
