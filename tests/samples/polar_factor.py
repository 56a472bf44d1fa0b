"""The inputs of polar_factor."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from tests.samples.sample import Sample

__all__ = ["SAMPLES"]


def _sample(name: str, batch: tuple[int, ...], n: int, layout: str = "contiguous", steps: int = 6) -> Sample:
    def make(generator: torch.Generator) -> dict[str, Any]:
        def orthogonal() -> Tensor:
            return torch.linalg.qr(torch.randn(*batch, n, n, generator=generator, dtype=torch.float64)).Q

        # Well-conditioned: what second derivatives divide by is a sum of two singular values. The nuclear norm, which
        # the residual's rounding goes with, is at most 16.
        values = (1 + torch.rand(*batch, 1, n, generator=generator, dtype=torch.float64)) / max(1, n / 8)
        matrix = (orthogonal() * values) @ orthogonal()
        if layout == "transposed":
            matrix = matrix.mT.contiguous().mT
        elif layout == "gaps":
            matrix = torch.stack([matrix, matrix], -1).flatten(-2)[..., ::2]
        elif layout == "expanded":
            matrix = matrix[:1].expand(batch[0], n, n)
        return {"matrix": matrix, "steps": steps}

    # Finite differences go through every element.
    return Sample("polar_factor", name, make, keeps_layout=False, numerical=n < 10, float32_error=1e-5)


SAMPLES = [
    _sample("typical", (2,), 6),
    _sample("one-matrix", (), 5),
    _sample("two-batches", (2, 3), 3, steps=7),
    _sample("one", (2,), 1),
    _sample("transposed", (2,), 7, "transposed"),
    _sample("gaps", (2,), 4, "gaps"),
    _sample("expanded", (3,), 4, "expanded"),
    _sample("a-block", (1,), 64, steps=5),
    _sample("over-a-block", (1,), 67),
    _sample("empty-batch", (0,), 4),
    _sample("empty-matrix", (2,), 0),
]
