"""The inputs of spectral_norm."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from fastgan.ops.spectral_norm.matrix import as_matrix
from tests.samples.sample import Sample, laid_out

__all__ = ["SAMPLES", "spectral_weight"]


def spectral_weight(
    shape: tuple[int, ...], layout: str, dim: int, strided: bool, generator: torch.Generator
) -> tuple[Tensor, Tensor, Tensor]:
    """A weight with unit vectors u and v, which are generic and give sigma = 2.

    u is in the weight's range and v about 30° from Wᵀ u: no product of the weight with a vector is so small that its
    rounding decides the next vector.
    """

    def normal(*size: int) -> Tensor:
        return torch.randn(size, generator=generator, dtype=torch.float64)

    weight = laid_out(shape, layout, normal)
    matrix = as_matrix(weight, dim % len(shape))
    columns = matrix.shape[1]
    u = F.normalize(matrix @ normal(columns), dim=0)
    v = F.normalize(F.normalize(matrix.mT @ u, dim=0) + 0.5 * F.normalize(normal(columns), dim=0), dim=0)
    sigma = torch.dot(u, matrix @ v)
    (weight if weight._base is None else weight._base).mul_(2 / sigma)
    if strided:
        u, v = (torch.stack([x, x], dim=1)[:, 1] for x in (u, v))
    return weight, u, v


def _spectral_norm(
    name: str,
    shape: tuple[int, ...],
    layout: str = "contiguous",
    dim: int = 0,
    strided_vectors: bool = False,
    **options: Any,
) -> Sample:
    def make(generator: torch.Generator) -> dict[str, Any]:
        weight, u, v = spectral_weight(shape, layout, dim, strided_vectors, generator)
        return {"weight": weight, "u": u, "v": v, "dim": dim, **options}

    # Finite differences see that the vectors of an iteration depend on the weight.
    numerical = options.get("n_power_iterations") == 0
    return Sample("spectral_norm", name, make, constants=("u", "v"), numerical=numerical)


def _spectral_norm_group(name: str, *members: tuple[tuple[int, ...], str, int], **options: Any) -> Sample:
    """`members` are shapes, layouts and dims."""

    def make(generator: torch.Generator) -> dict[str, Any]:
        made = [spectral_weight(shape, layout, dim, False, generator) for shape, layout, dim in members]
        weights, us, vs = (list(x) for x in zip(*made, strict=True))
        return {"weights": weights, "us": us, "vs": vs, "dims": [dim for _, _, dim in members], **options}

    numerical = options.get("n_power_iterations") == 0
    return Sample("spectral_norm", name, make, "spectral_norm_group", ("us", "vs"), numerical)


SAMPLES = [
    _spectral_norm_group(
        "typical",
        ((4, 3, 3, 3), "contiguous", 0),
        ((3, 4, 2, 2), "contiguous", 1),
        ((5, 7), "contiguous", 0),
        ((2, 6, 3), "contiguous", 0),
        n_power_iterations=1,
    ),
    *(
        sample
        for n in (0, 1)
        for sample in (
            _spectral_norm(f"linear-{n}", (6, 9), n_power_iterations=n),
            _spectral_norm(f"linear-tall-{n}", (11, 3), n_power_iterations=n),
            _spectral_norm(f"linear-dim-1-{n}", (5, 7), dim=1, n_power_iterations=n),
            _spectral_norm(f"conv1d-{n}", (4, 3, 5), n_power_iterations=n),
            _spectral_norm(f"conv2d-{n}", (4, 3, 3, 3), n_power_iterations=n),
            _spectral_norm(f"conv3d-{n}", (3, 2, 2, 3, 2), n_power_iterations=n),
            _spectral_norm(f"conv2d-1x1-{n}", (8, 5, 1, 1), n_power_iterations=n),
            _spectral_norm(f"conv-transpose1d-{n}", (4, 3, 5), dim=1, n_power_iterations=n),
            _spectral_norm(f"conv-transpose2d-{n}", (4, 3, 3, 3), dim=1, n_power_iterations=n),
            _spectral_norm(f"dim-last-{n}", (3, 2, 2, 5), dim=-1, n_power_iterations=n),
            _spectral_norm(f"conv2d-channels_last-{n}", (4, 3, 3, 3), "channels_last", n_power_iterations=n),
            _spectral_norm(f"conv3d-channels_last-{n}", (3, 2, 2, 3, 2), "channels_last", n_power_iterations=n),
            _spectral_norm(
                f"conv-transpose2d-channels_last-{n}", (4, 3, 3, 3), "channels_last", dim=1, n_power_iterations=n
            ),
            _spectral_norm(f"conv2d-transposed-{n}", (4, 3, 2, 3), "transposed", n_power_iterations=n),
            _spectral_norm(f"linear-transposed-{n}", (5, 8), "transposed", n_power_iterations=n),
            _spectral_norm(f"linear-transposed-dim-1-{n}", (5, 8), "transposed", dim=1, n_power_iterations=n),
            _spectral_norm(f"gaps-dim-1-{n}", (3, 4, 5), "gaps", dim=1, n_power_iterations=n),
            _spectral_norm(f"expanded-permuted-{n}", (2, 3, 4, 2), "expanded-permuted", n_power_iterations=n),
            _spectral_norm(f"offset-{n}", (3, 5, 3), "offset", n_power_iterations=n),
            _spectral_norm(f"strided-vectors-{n}", (4, 3, 2), strided_vectors=True, n_power_iterations=n),
            _spectral_norm(f"one-row-{n}", (1, 13), n_power_iterations=n),
            _spectral_norm(f"one-column-{n}", (13, 1), n_power_iterations=n),
            _spectral_norm(f"one-column-channels_last-{n}", (3, 1, 1, 1), "channels_last", n_power_iterations=n),
            _spectral_norm(f"one-{n}", (1, 1), n_power_iterations=n),
            _spectral_norm(f"vector-{n}", (7,), n_power_iterations=n),
            _spectral_norm(f"empty-rows-{n}", (0, 5), n_power_iterations=n),
            _spectral_norm(f"empty-columns-{n}", (5, 0, 3), n_power_iterations=n),
        )
    ),
    _spectral_norm("channels_last", (6, 4, 3, 5), "channels_last"),
    _spectral_norm("gaps", (4, 3, 5), "gaps"),
    _spectral_norm("expanded", (4, 3, 5), "expanded"),
    _spectral_norm("two-iterations", (6, 5, 3), n_power_iterations=2),
    _spectral_norm("two-iterations-dim-1", (6, 5, 3), dim=1, n_power_iterations=2),
    _spectral_norm("v-first", (6, 5, 3), v_first=True),
    _spectral_norm("v-first-dim-1", (6, 5, 3), dim=1, v_first=True),
    _spectral_norm("v-first-two-iterations", (4, 6, 3, 3), "channels_last", v_first=True, n_power_iterations=2),
    _spectral_norm("v-first-none", (6, 5), v_first=True, n_power_iterations=0),
    _spectral_norm("long-row", (1, 9001), n_power_iterations=1),
    _spectral_norm("long-rows", (3, 5003), n_power_iterations=1),
    _spectral_norm("long-rows-dim-1", (1031, 3), dim=1, n_power_iterations=1),
    _spectral_norm("many-rows", (613, 7), n_power_iterations=1),
    _spectral_norm("many-rows-and-columns", (333, 5, 3, 3), v_first=True),
    _spectral_norm("many-rows-and-columns-channels_last", (333, 5, 3, 3), "channels_last", n_power_iterations=2),
    _spectral_norm_group(
        "group-mixed-layouts",
        ((4, 3, 3, 3), "channels_last", 0),
        ((3, 4), "transposed", 0),
        ((2, 3, 4), "gaps", 1),
        ((5, 2, 2, 2), "channels_last", 1),
        ((3, 5), "expanded", 0),
        ((2, 7), "offset", -1),
        n_power_iterations=0,
    ),
    _spectral_norm_group(
        "group-mixed-sizes",
        ((97, 5, 3, 3), "channels_last", 0),
        ((0, 5), "contiguous", 0),
        ((1, 2049), "contiguous", 0),
        ((300, 2), "contiguous", 0),
        ((1, 1), "contiguous", 0),
        ((7,), "contiguous", 0),
        n_power_iterations=2,
        v_first=True,
    ),
    _spectral_norm_group("group-of-one", ((3, 4, 2), "contiguous", 1), n_power_iterations=0),
]
