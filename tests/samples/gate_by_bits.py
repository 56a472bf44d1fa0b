"""The inputs of gate_by_bits."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from tests.samples.sample import Sample, laid_out

__all__ = ["SAMPLES"]


def _sample(name: str, shape: tuple[int, ...], layout: str = "contiguous", **options: Any) -> Sample:
    def make(generator: torch.Generator) -> dict[str, Any]:
        def normal(*size: int) -> Tensor:
            return torch.randn(size, generator=generator, dtype=torch.float64)

        length = (math.prod(shape) + 7) // 8
        bits = torch.randint(256, (length,), generator=generator, dtype=torch.uint8)
        return {"input": laid_out(shape, layout, normal), "bits": bits, "alpha": 0.2, **options}

    return Sample("gate_by_bits", name, make, constants=("bits",), keeps_layout=False)


SAMPLES = [
    _sample("typical", (2, 3, 4, 5)),
    _sample("relu", (2, 3, 7), alpha=0.0),
    _sample("gain", (2, 3, 7), gain=1.4),
    _sample("relu-gain", (2, 3, 7), alpha=0.0, gain=-2.0),
    _sample("negative-alpha", (2, 3, 7), alpha=-1.0),
    _sample("channels_last", (2, 5, 3, 3), "channels_last", memory_format=torch.channels_last),
    _sample("into-channels_last", (2, 5, 3, 3), memory_format=torch.channels_last),
    _sample("out-of-channels_last", (2, 5, 3, 3), "channels_last"),
    _sample("channels_last_3d", (2, 3, 2, 3, 2), "channels_last", memory_format=torch.channels_last_3d),
    _sample("one-pixel", (3, 5, 1, 1), memory_format=torch.channels_last),
    _sample("gaps", (2, 3, 5), "gaps"),
    _sample("expanded", (4, 3, 5), "expanded"),
    _sample("transposed", (4, 3, 5), "transposed"),
    _sample("offset", (2, 3, 5), "offset"),
    _sample("whole-bytes", (16,)),
    _sample("scalar", ()),
    _sample("long", (2, 3, 7, 97)),
    _sample("empty-batch", (0, 3, 4, 4), memory_format=torch.channels_last),
]
