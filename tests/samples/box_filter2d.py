"""The inputs of box_filter2d."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from tests.samples.sample import Sample, laid_out

__all__ = ["SAMPLES"]


def _sample(name: str, shape: tuple[int, ...], layout: str = "contiguous", **options: Any) -> Sample:
    def make(generator: torch.Generator) -> dict[str, Any]:
        def normal(*size: int) -> Tensor:
            return torch.randn(size, generator=generator, dtype=torch.float64)

        return {"input": laid_out(shape, layout, normal), **options}

    return Sample("box_filter2d", name, make, keeps_layout=False)


SAMPLES = [
    _sample("typical", (2, 3, 5, 7), act="lrelu", padding=1, scale=0.25),
    _sample("channels_last", (2, 5, 4, 3), "channels_last", act="relu", padding=1, scale=0.25),
    _sample("gaps", (2, 3, 3, 5), "gaps", act="lrelu", alpha=-0.5),
    _sample("expanded", (2, 3, 4, 4), "expanded", act="relu"),
    _sample("linear", (2, 3, 4, 5), padding=1),
    _sample("linear-channels_last", (2, 17, 4, 5), "channels_last", scale=-1.5),
    _sample("one-pixel", (2, 3, 1, 1), padding=1, act="relu"),
    _sample("one-channel", (2, 1, 3, 4), "channels_last", act="lrelu"),
    _sample("empty-batch", (0, 3, 4, 4), act="relu", padding=1),
]
