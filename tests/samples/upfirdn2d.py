"""The inputs of upfirdn2d."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from tests.samples.sample import Sample, laid_out

__all__ = ["SAMPLES"]


def _upfirdn2d(
    name: str,
    shape: tuple[int, ...],
    filter: tuple[int, ...] | None,
    layout: str = "contiguous",
    function: str = "upfirdn2d",
    **options: Any,
) -> Sample:
    """`filter` is a shape; its taps are random and not symmetric, so that one read in the wrong order shows."""

    def make(generator: torch.Generator) -> dict[str, Any]:
        def normal(*size: int) -> Tensor:
            return torch.randn(size, generator=generator, dtype=torch.float64)

        taps = None if filter is None else normal(*filter)
        return {"input": laid_out(shape, layout, normal), "filter": taps, **options}

    # Half types: the filter is rounded to them as well, and exact in what the op computes in.
    return Sample("upfirdn2d", name, make, function, ("filter",), keeps_layout=function == "filter2d")


SAMPLES = [
    _upfirdn2d("typical", (2, 3, 5, 4), (4,), function="upsample2d"),
    _upfirdn2d("down", (2, 2, 7, 6), (4,), function="downsample2d"),
    _upfirdn2d("channels_last", (2, 5, 4, 3), (4,), "channels_last", function="filter2d"),
    _upfirdn2d("channels_last-up", (1, 17, 3, 2), (4,), "channels_last", function="upsample2d"),
    _upfirdn2d("channels_last-down", (2, 3, 5, 6), (4,), "channels_last", function="downsample2d", gain=-1.5),
    _upfirdn2d("gaps", (2, 2, 4, 3), (3,), "gaps", function="filter2d"),
    _upfirdn2d("expanded", (2, 3, 4, 4), (3, 2), "expanded", function="filter2d"),
    _upfirdn2d("transposed", (2, 3, 3, 4), (3,), "transposed"),
    _upfirdn2d("matrix", (1, 2, 5, 4), (3, 4), up=(2, 3), down=(3, 2), padding=(2, 1, 3, 2), flip_filter=True),
    _upfirdn2d("matrix-channels_last", (2, 3, 4, 3), (2, 3), "channels_last", up=2, padding=(1, 2), gain=0.7),
    _upfirdn2d("crops", (2, 2, 7, 6), (4,), up=(1, 2), padding=(-2, 3, 1, -3), flip_filter=True),
    _upfirdn2d("ratio", (1, 2, 6, 7), (5,), up=(3, 2), down=(2, 3), padding=4),
    _upfirdn2d("long", (1, 2, 6, 5), (12,), up=(2, 1), down=(1, 2), padding=6),
    _upfirdn2d("identity", (2, 3, 3, 2), None, up=2, down=(1, 3), padding=(1, 0)),
    _upfirdn2d("one", (1, 1, 1, 1), (4,), function="upsample2d"),
    _upfirdn2d("empty-batch", (0, 3, 4, 4), (4,), function="downsample2d"),
]
