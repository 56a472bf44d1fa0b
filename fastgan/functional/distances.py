"""Tiles of squared distances between samples, and single ones in float64: what the neighbour counts are made of."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator

import torch
from torch import Tensor

from fastgan.ops import checks

__all__ = ["TILE", "Points", "check_features", "exact_distances", "tile_distances", "tile_error", "tiles"]

#: Samples on a side of a tile: what is in memory at once is a few tiles, whatever the number of samples.
TILE = 1024
#: Numbers of float64 that are gathered at once for single distances.
_GATHERED = 2**18


def check_features(function: str, **features: Tensor) -> None:
    """Raise unless all are finite floating point [N, d] with one d and one device; the names are for the message."""
    (first, expected), *_ = features.items()
    for name, given in features.items():
        checks.check_floating(function, name, given)
        if given.dim() != 2 or 0 in given.shape:
            raise ValueError(f"{function}: {name} must be [N, d] with at least one sample, got {list(given.shape)}")
        if given.shape[1] != expected.shape[1] or given.device != expected.device:
            raise ValueError(
                f"{function}: {name} must be [N, {expected.shape[1]}] on {expected.device} to match {first}, "
                f"got {list(given.shape)} on {given.device}"
            )
        if not all(torch.isfinite(given[rows]).all() for rows in tiles(len(given))):
            raise ValueError(f"{function}: {name} must be finite, got NaN or infinite values")


def tiles(length: int) -> Iterator[slice]:
    """Slices of at most ``TILE`` samples."""
    return (slice(start, min(start + TILE, length)) for start in range(0, length, TILE))


def _tile_dtype(dtype: torch.dtype) -> torch.dtype:
    """float32 where torch's products of it are of float32's accuracy, else float64."""
    rounds_less = dtype != torch.float64 and torch.get_float32_matmul_precision() == "highest"
    return torch.float32 if rounds_less else torch.float64


class Points:
    """Samples seen from a common centre, a tile at a time, with their squared norms.

    Distances do not change with the centre, and ``|x|² + |y|² - 2 x·y`` loses the fewer digits the smaller the norms.

    Parameters
    ----------
    samples : Tensor
        [N, d], floating point; it is not copied.
    centre : Tensor
        [d], of the dtype that tiles are computed in.
    """

    def __init__(self, samples: Tensor, centre: Tensor) -> None:
        self.samples, self.centre = samples, centre
        self.norms = torch.cat([self[rows].double().square_().sum(1) for rows in tiles(len(samples))])

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, rows: slice) -> Tensor:
        return self.samples[rows].to(self.centre.dtype) - self.centre

    @staticmethod
    def centre_of(*samples: Tensor) -> Tensor:
        """Mean of the first samples, in the dtype that all their tiles are computed in."""
        first = samples[0]
        total = first.new_zeros(first.shape[1], dtype=torch.float64)
        for rows in tiles(len(first)):
            total += first[rows].double().sum(0)
        dtype = functools.reduce(torch.promote_types, (s.dtype for s in samples))
        return (total / len(first)).to(_tile_dtype(dtype))


def tile_distances(x: Points, rows: slice, y: Points, columns: slice, own: Tensor | None = None) -> Tensor:
    """Squared distances [rows, columns] by one matrix product; ``own`` is ``x[rows]`` where the caller has it."""
    left = x[rows] if own is None else own
    with torch.autocast(left.device.type, enabled=False):
        result = torch.addmm(y.norms[columns].to(left.dtype), left, y[columns].T, alpha=-2)
    return result.add_(x.norms[rows, None].to(left.dtype))


def tile_error(x: Points, a: Tensor, b: Tensor) -> Tensor:
    """What the error of ``tile_distances`` between samples of squared norms a and b stays below.

    A sum of d products errs by at most d roundings of its terms' size, and by some √d of them unless all err the same
    way (N. Higham, T. Mary, "A New Approach to Probabilistic Rounding Error Analysis", 2019).
    """
    factor = torch.finfo(x.centre.dtype).eps * (4 + math.sqrt(x.samples.shape[1]))
    return (a.sqrt() + b.sqrt()).square_().mul_(factor)


def exact_distances(x: Tensor, y: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Squared distances [P] between ``x[rows]`` and ``y[columns]``, by differences in float64."""
    chunk = max(1, _GATHERED // x.shape[1])
    pairs = zip(rows.split(chunk), columns.split(chunk), strict=True)
    return torch.cat([(x[i].double() - y[j].double()).square_().sum(1) for i, j in pairs])
