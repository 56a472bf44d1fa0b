"""Distances to nearest neighbours, in memory that does not grow with the square of the number of samples."""

from __future__ import annotations

import torch
from torch import Tensor

from .distances import Points, check_features, exact_distances, tile_distances, tile_error, tiles

__all__ = ["check_neighbours", "kth_neighbour_distance"]

#: Candidates that are kept beyond the k nearest by rounded distances.
_SPARE = 3


class _Nearest:
    """The smallest distances seen so far of each sample, in ascending order, and to whom they are."""

    def __init__(self, length: int, count: int, like: Tensor) -> None:
        self.distances = like.new_full((length, count), torch.inf)
        self.indices = torch.zeros(length, count, dtype=torch.long, device=like.device)

    def take(self, rows: slice, distances: Tensor, offset: int) -> None:
        """See distances [rows, columns] to samples that are numbered from ``offset``."""
        count = self.distances.shape[1]
        new, positions = distances.topk(min(count, distances.shape[1]), 1, largest=False, sorted=False)
        merged = torch.cat([self.distances[rows], new], 1)
        self.distances[rows], order = merged.topk(count, 1, largest=False)
        self.indices[rows] = torch.cat([self.indices[rows], positions + offset], 1).gather(1, order)


def check_neighbours(function: str, name: str, k: int, samples: Tensor, argument: str = "k") -> None:
    """Raise unless each of the samples [N, d] has ``k`` others."""
    if isinstance(k, bool) or not isinstance(k, int):
        raise TypeError(f"{function}: {argument} must be an integer, got {type(k).__name__}")
    if not 1 <= k < len(samples):
        raise ValueError(
            f"{function}: {argument} must be in [1, {len(samples) - 1}] for {name} {list(samples.shape)}, got {k}"
        )


@torch.no_grad()
def kth_neighbour_distance(x: Tensor, k: int) -> Tensor:
    """Distance of each sample to the k-th nearest of the others.

    Parameters
    ----------
    x : Tensor
        [N, d], one sample a row; float32, float64, float16 or bfloat16.
    k : int
        From 1 to N - 1. Equal samples are neighbours at distance 0.

    Returns
    -------
    Tensor
        [N], float64.

    Raises
    ------
    TypeError
        For x that is not floating point, or k that is no integer.
    ValueError
        For another shape, values that are not finite, or k out of range.

    Notes
    -----
    Each pair of tiles is multiplied once, in the samples' precision, and finds candidates for both its sides. Which of
    them is the k-th is decided by differences in float64, so the result has float64's accuracy. Memory is a few tiles
    of 1024 × 1024 distances. Not differentiable.
    """
    check_features("kth_neighbour_distance", x=x)
    check_neighbours("kth_neighbour_distance", "x", k, x)
    return squared_kth_distances(Points(x, Points.centre_of(x)), k).sqrt_()


def squared_kth_distances(x: Points, k: int) -> Tensor:
    """[N] float64 squares of ``kth_neighbour_distance``, for arguments that are checked."""
    nearest = _Nearest(len(x), min(k + _SPARE, len(x) - 1), x.centre)
    for rows in tiles(len(x)):
        own = x[rows]
        for columns in tiles(len(x)):
            if columns.start < rows.start:
                continue
            distances = tile_distances(x, rows, x, columns, own)
            if rows == columns:
                distances.fill_diagonal_(torch.inf)
            else:
                nearest.take(columns, distances.T, rows.start)
            nearest.take(rows, distances, columns.start)
    return _decided(x, nearest, k)


def _decided(x: Points, nearest: _Nearest, k: int) -> Tensor:
    """Squared distances to the k-th candidates, decided in float64 among those that rounding may have swapped."""
    found = nearest.distances.double()
    kth = found[:, k - 1, None]
    error = 2 * tile_error(x, x.norms[:, None], x.norms[nearest.indices].amax(1, keepdim=True))
    near = (found - kth).abs() <= error
    exact = torch.full_like(found, torch.inf)
    rows, columns = near.nonzero(as_tuple=True)
    exact[rows, columns] = exact_distances(x.samples, x.samples, rows, nearest.indices[rows, columns])
    nearer = (found < kth - error).sum(1, keepdim=True)
    result = exact.sort(1).values.gather(1, k - 1 - nearer).squeeze(1)
    if found.shape[1] < len(x) - 1:
        # Where even the last candidate is near, others may be too.
        crowded = near[:, -1].nonzero().squeeze(1)
        if len(crowded):
            result[crowded] = _crowded(x, crowded, k)
    return result


def _crowded(x: Points, rows: Tensor, k: int) -> Tensor:
    """The same for samples with many neighbours at nearly one distance: tiles in float64 find the k-th."""
    some = Points(x.samples[rows], x.centre.double())
    every = Points(x.samples, x.centre.double())
    nearest = _Nearest(len(some), k, some.centre)
    for part in tiles(len(some)):
        own = some[part]
        for columns in tiles(len(every)):
            distances = tile_distances(some, part, every, columns, own)
            distances[rows[part, None] == torch.arange(columns.start, columns.stop, device=rows.device)] = torch.inf
            nearest.take(part, distances, columns.start)
    return exact_distances(x.samples, x.samples, rows, nearest.indices[:, -1])
