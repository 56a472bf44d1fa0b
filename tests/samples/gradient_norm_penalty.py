"""The inputs of gradient_norm_penalty."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from tests.samples.sample import Sample, laid_out

__all__ = ["SAMPLES"]


def _sample(
    name: str,
    shape: tuple[int, ...],
    layout: str = "contiguous",
    zero: int | None = None,
    numerical: bool = True,
    **options: Any,
) -> Sample:
    """`zero` is the sample whose gradient is 0."""

    def make(generator: torch.Generator) -> dict[str, Any]:
        def normal(*size: int) -> Tensor:
            return torch.randn(size, generator=generator, dtype=torch.float64)

        gradient = laid_out(shape, layout, normal)
        if zero is not None:
            gradient[zero] = 0
        return {"gradient": gradient, "weight": 0.25, "return_scale": True, **options}

    return Sample("gradient_norm_penalty", name, make, numerical=numerical, keeps_layout=False, accumulated=True)


SAMPLES = [
    _sample("typical", (3, 2, 3, 4), center=1.0),
    _sample("squares", (3, 2, 3, 4)),
    _sample("one-sided", (4, 3), center=1.5, one_sided=True),
    _sample("center-zero", (3, 7), center=0.0),
    _sample("zero-norm-squares", (3, 2, 5), zero=1),
    _sample("zero-norm", (3, 2, 5), zero=1, numerical=False, center=1.0),
    _sample("zero-norm-one-sided", (3, 2, 5), zero=0, center=1.0, one_sided=True),
    _sample("channels_last", (3, 5, 2, 3), "channels_last", center=1.0),
    _sample("gaps", (3, 2, 5), "gaps", center=1.0),
    _sample("expanded", (4, 3, 5), "expanded", center=1.0),
    _sample("transposed", (4, 3, 5), "transposed", center=1.0),
    _sample("offset", (2, 3, 5), "offset"),
    _sample("vector", (6,), center=0.5),
    _sample("one", (1, 1, 1, 1), center=2.0),
    _sample("long", (2, 3, 7, 97), numerical=False, center=1.0),
    _sample("empty-batch", (0, 3, 4, 4), center=1.0),
    _sample("empty-pixels", (2, 3, 0), center=1.0),
]
