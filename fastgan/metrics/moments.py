"""Mean and scatter of samples that come in parts, in one float64 tensor that parts are merged into.

The tensor is [d + 2, d]: the lower triangle of ``Σ (x - mean)(x - mean)ᵀ``, the mean, and the number of samples,
repeated. Nothing is subtracted from a sum of squares, so features far from zero lose no digits.

T. Chan, G. Golub, R. LeVeque, "Algorithms for Computing the Sample Variance", 1983.
"""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["add", "covariance", "empty", "mean", "merge", "number"]

#: Columns of the scatter that are updated at once: only blocks that reach below the diagonal are computed.
_BLOCK = 256


def empty(d: int, device: torch.device | None = None) -> Tensor:
    """Moments of no samples."""
    return torch.zeros(d + 2, d, dtype=torch.float64, device=device)


def number(moments: Tensor) -> int:
    """Samples seen."""
    return int(moments[-1, 0]) if moments.shape[1] else 0


def mean(moments: Tensor) -> Tensor:
    """[d] mean of the samples."""
    return moments[-2]


def covariance(moments: Tensor) -> Tensor:
    """[d, d] unbiased covariance of the samples, of which there must be two."""
    lower = moments[:-2] / (moments[-1, 0] - 1)
    return lower.tril() + lower.tril(-1).T


def add(moments: Tensor, samples: Tensor) -> None:
    """Take samples [N, d] into ``moments``, in place."""
    n = len(samples)
    if n == 0:
        return
    rows = moments.new_empty(n + 1, samples.shape[1])
    rows[:n] = samples
    centre = rows[:n].mean(0)
    rows[:n] -= centre
    # What the distance of the two means adds to the scatter is one more row.
    total = moments[-1, 0] + n
    shift = centre - moments[-2]
    rows[n] = shift * torch.sqrt(moments[-1, 0] * n / total)
    d = samples.shape[1]
    for start in range(0, d, _BLOCK):
        end = min(start + _BLOCK, d)
        moments[start:end, :end].addmm_(rows[:, start:end].T, rows[:, :end])
    moments[-2].add_(shift * (n / total))
    moments[-1].add_(n)


def merge(parts: Tensor) -> Tensor:
    """Moments of all samples, from those of their parts [P, d + 2, d]."""
    merged = parts[0].clone()
    for part in parts[1:]:
        n, m = merged[-1, 0].clone(), part[-1, 0]
        total = (n + m).clamp(min=1)
        shift = part[-2] - merged[-2]
        merged[:-2].add_(part[:-2]).addr_(shift, shift * (n * m / total))
        merged[-2].add_(shift * (m / total))
        merged[-1].add_(m)
    return merged
