"""Precision, recall, density and coverage of samples, by counting who lies within whose nearest neighbours."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from .distances import Points, check_features, exact_distances, tile_distances, tile_error, tiles
from .neighbours import check_neighbours, squared_kth_distances

__all__ = ["PRDC", "precision_recall_density_coverage"]


class PRDC(NamedTuple):
    """float64 scalars."""

    precision: Tensor
    recall: Tensor
    density: Tensor
    coverage: Tensor


@torch.no_grad()
def precision_recall_density_coverage(real: Tensor, fake: Tensor, nearest_k: int = 5) -> PRDC:
    r"""How many samples of one set lie near samples of another.

    The ball of a sample reaches to the ``nearest_k``-th nearest other sample of its own set, which is outside.

    Parameters
    ----------
    real, fake : Tensor
        [N, d] and [M, d], one sample a row; float32, float64, float16 or bfloat16.
    nearest_k : int, default: 5
        Below N and M. Kynkäänniemi et al. use 3, Naeem et al. 5.

    Returns
    -------
    PRDC
        A named tuple of ``precision``, the share of fake samples within at least one real ball; ``recall``, the share
        of real samples within at least one fake ball; ``density``, the number of real balls that a fake sample lies
        in, over ``nearest_k``, averaged; ``coverage``, the share of real balls that hold a fake sample.

    Raises
    ------
    TypeError
        For features that are not floating point, or ``nearest_k`` that is no integer.
    ValueError
        For other shapes, values that are not finite, or ``nearest_k`` out of range.

    Notes
    -----
    Distances come from tiles of matrix products in the features' precision; a comparison that their rounding could
    turn round is made again in float64, so the counts are those of float64. No matrix of N × N or N × M exists: memory
    is a few tiles of 1024 × 1024. Not differentiable.

    T. Kynkäänniemi et al., "Improved Precision and Recall Metric for Assessing Generative Models", NeurIPS 2019;
    M. Naeem et al., "Reliable Fidelity and Diversity Metrics for Generative Models", ICML 2020.
    """
    function = "precision_recall_density_coverage"
    check_features(function, real=real, fake=fake)
    for name, samples in (("real", real), ("fake", fake)):
        check_neighbours(function, name, nearest_k, samples, "nearest_k")
    centre = Points.centre_of(real, fake)
    x, y = Points(real, centre), Points(fake, centre)
    real_balls, fake_balls = squared_kth_distances(x, nearest_k), squared_kth_distances(y, nearest_k)
    holds, reached = (torch.zeros(len(x), dtype=torch.bool, device=real.device) for _ in range(2))
    inside = torch.zeros(len(y), dtype=torch.bool, device=real.device)
    count = torch.zeros((), dtype=torch.long, device=real.device)
    for rows in tiles(len(x)):
        own = x[rows]
        for columns in tiles(len(y)):
            distances = tile_distances(x, rows, y, columns, own)
            within_real = _within(x, rows, y, columns, distances, real_balls[rows, None])
            count += within_real.sum()
            inside[columns] |= within_real.any(0)
            holds[rows] |= within_real.any(1)
            reached[rows] |= _within(x, rows, y, columns, distances, fake_balls[columns]).any(1)
    return PRDC(
        precision=inside.double().mean(),
        recall=reached.double().mean(),
        density=count.double() / (nearest_k * len(y)),
        coverage=holds.double().mean(),
    )


def _within(x: Points, rows: slice, y: Points, columns: slice, distances: Tensor, balls: Tensor) -> Tensor:
    """Which of the squared distances [rows, columns] are below ``balls``, which broadcasts to them, in float64."""
    a, b, limit = (t.to(distances.dtype) for t in (x.norms[rows, None], y.norms[columns], balls))
    error = tile_error(x, a, b)
    surely = distances < limit - error
    i, j = (surely ^ (distances < error.add_(limit))).nonzero(as_tuple=True)
    exact = exact_distances(x.samples, y.samples, i + rows.start, j + columns.start)
    surely[i, j] = exact < balls.expand_as(surely)[i, j]
    return surely
