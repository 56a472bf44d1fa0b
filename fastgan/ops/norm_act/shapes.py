"""What all backends of norm_act share: groups of elements with one statistic, and sums over processes."""

from __future__ import annotations

import math
from typing import Any, cast

import torch
import torch.distributed as dist
from torch import Tensor

from fastgan.ops.layout import accumulator

__all__ = ["accumulator", "all_reduce", "along", "count", "moments", "parameter_gradient", "statistics", "synchronise"]


def along(parameter: Tensor, x: Tensor) -> Tensor:
    """A parameter [C] or [N, C] with dimensions of size 1 where it does not vary."""
    return parameter.reshape(*parameter.shape, *(1,) * (x.dim() - 2))


def count(x: Tensor, norm: str) -> int:
    """How many elements share a statistic, 1 where that would be none."""
    pixels = math.prod(x.shape[2:])
    return max(x.shape[0] * pixels if norm == "batch" else pixels, 1)


def statistics(x: Tensor, norm: str) -> tuple[Tensor, Tensor, Tensor]:
    """Memory for mean, variance and unbiased variance; none where the input has no statistics of its own."""
    shape = {"batch": x.shape[1:2], "instance": x.shape[:2]}.get(norm, torch.Size((0,)))
    wide = accumulator(x.dtype)
    return x.new_empty(shape, dtype=wide), x.new_empty(shape, dtype=wide), x.new_empty(shape, dtype=wide)


def parameter_gradient(sums: Tensor | None, parameter: Tensor | None, x: Tensor) -> Tensor:
    """The gradient of a parameter [C] or [N, C] from its sums [N, C] or [1, C]; an empty tensor where there is none."""
    if sums is None or parameter is None:
        return x.new_empty(0)
    if parameter.dim() == 1:
        sums = sums.sum(0)
    return torch.empty_like(parameter).copy_(sums)


def _group(name: str) -> dist.ProcessGroup:
    return dist.distributed_c10d._resolve_process_group(cast(Any, name))


def all_reduce(sums: Tensor, elements: int, group: str) -> tuple[Tensor, Tensor]:
    """The sums of all processes, and the number of elements that they are over."""
    flat = torch.cat([sums.double().reshape(-1), sums.new_full((1,), elements, dtype=torch.float64)])
    dist.all_reduce(flat, group=_group(group))
    return flat[:-1].reshape(sums.shape).to(sums.dtype), flat[-1].clamp(min=1)


def moments(sums: Tensor, weight: Tensor | None, x: Tensor, norm: str, group: str | None) -> Tensor:
    """Means over the elements that share a statistic, [k, C] or [k, N, C], of `weight` times what `sums` [k, N, C] has.

    `sums` may have a single row for the whole batch where norm is "batch" and weight [C] or none.
    """
    if weight is not None:
        sums = sums * weight
    if norm == "instance":
        return sums / count(x, norm)
    sums = sums.sum(1)
    if group is None:
        return sums / count(x, norm)
    total, elements = all_reduce(sums, x.numel() // max(x.shape[1], 1), group)
    return total / elements.to(total.dtype)


def synchronise(mean: Tensor, variance: Tensor, elements: int, group: str) -> tuple[Tensor, Tensor, Tensor]:
    """Mean, variance and unbiased variance over all processes, from each one's mean and variance of `elements`.

    Deviations of the means are squared, not the means: nothing cancels where a mean is large.
    """
    own = torch.cat([mean.double(), variance.double(), mean.new_full((1,), elements, dtype=torch.float64)])
    gathered = [torch.empty_like(own) for _ in range(dist.get_world_size(_group(group)))]
    dist.all_gather(gathered, own, group=_group(group))
    every = torch.stack(gathered)
    means, variances = every[:, :-1].unflatten(1, (2, -1)).unbind(1)
    counts = every[:, -1:]
    # A process without elements has no statistics, whatever stands there.
    means, variances = (torch.where(counts > 0, x, 0.0) for x in (means, variances))
    total = counts.sum().clamp(min=1)
    merged = (counts * means).sum(0) / total
    squares = (counts * (variances + (means - merged).square())).sum(0)
    dtype = mean.dtype
    return merged.to(dtype), (squares / total).to(dtype), (squares / (total - 1).clamp(min=1)).to(dtype)
