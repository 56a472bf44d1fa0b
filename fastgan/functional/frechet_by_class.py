"""Fréchet distances between the samples of each class of two labelled sets, all classes at once."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, NamedTuple, overload

import torch
from torch import Tensor

from fastgan.functional.frechet import check_same_features, check_samples, distances, rounding
from fastgan.ops.layout import accumulator
from fastgan.ops.matrices import check_finite

__all__ = ["frechet_distance_by_class"]

#: Elements of a set that are worked on at a time: as many as the caches hold.
_CHUNK = 1 << 21


class _Classes(NamedTuple):
    """The samples of a set, class by class."""

    labels: Tensor  #: [C], ascending
    counts: list[int]
    starts: list[int]  #: of the classes in `order`
    order: Tensor  #: [N], the samples' indices


def _classes(name: str, argument: str, x: Tensor, labels: Tensor) -> _Classes:
    if not isinstance(labels, Tensor) or labels.is_floating_point() or labels.is_complex():
        given = labels.dtype if isinstance(labels, Tensor) else type(labels).__name__
        raise TypeError(f"{name}: {argument}_labels must be a Tensor of integers, got {given}")
    if labels.shape != x.shape[:1] or labels.device != x.device:
        raise ValueError(
            f"{name}: {argument}_labels must be [{len(x)}] on {x.device} to match {argument} {list(x.shape)}, "
            f"got {list(labels.shape)} on {labels.device}"
        )
    ordered, order = labels.sort(stable=True)
    present, counts = torch.unique_consecutive(ordered, return_counts=True)
    starts = counts.cumsum(0) - counts
    return _Classes(present, counts.tolist(), starts.tolist(), order)


def _centred(x: Tensor, classes: _Classes, members: list[int]) -> tuple[Tensor, Tensor, Tensor]:
    """Means [C, d] of classes, rows [C, n, d] with their scatter matrices, and how many rows are not padding.

    As :func:`fastgan.functional.frechet.centred`, with rows of 0 where a class has less samples than the largest.
    """
    counts = torch.tensor([classes.counts[i] for i in members], device=x.device)
    starts = torch.tensor([classes.starts[i] for i in members], device=x.device)
    largest = max(classes.counts[i] for i in members)
    position = torch.arange(largest, device=x.device)
    # Past its end a class repeats its last sample, which is the one that the reflection does without.
    index = classes.order[starts[:, None] + torch.minimum(position, counts[:, None] - 1)]
    samples = x.index_select(0, index.flatten()).view(*index.shape, -1).double()
    n = counts.double()
    if all(classes.counts[i] == largest for i in members):
        mean = samples.mean(1)
    else:
        weights = (position < counts[:, None]).double() / n[:, None]
        mean = (weights[:, None] @ samples)[:, 0]
    shift = mean - (samples[:, -1] - mean) / (n.sqrt() - 1)[:, None]
    rows = samples[:, :-1]
    rows = rows - shift[:, None] if rows.requires_grad else rows.sub_(shift[:, None])  # in memory of its own
    padding = position[:-1] >= counts[:, None] - 1
    return mean, rows.masked_fill(padding[..., None], 0.0) if len(set(counts.tolist())) > 1 else rows, n - 1


def _chunks(first: _Classes, second: _Classes, pairs: list[tuple[int, int]], d: int) -> Iterator[list[int]]:
    """Positions in `pairs`, of classes of similar size together, as many as make a chunk."""

    def largest(i: int) -> int:
        return max(first.counts[pairs[i][0]], second.counts[pairs[i][1]])

    by_size = sorted(range(len(pairs)), key=largest, reverse=True)
    while by_size:
        length = max(1, _CHUNK // (largest(by_size[0]) * d))
        yield by_size[:length]
        by_size = by_size[length:]


@overload
def frechet_distance_by_class(
    x: Tensor,
    x_labels: Tensor,
    y: Tensor,
    y_labels: Tensor,
    *,
    return_error: Literal[False] = False,
    rtol: float | None = None,
) -> tuple[Tensor, Tensor]: ...


@overload
def frechet_distance_by_class(
    x: Tensor,
    x_labels: Tensor,
    y: Tensor,
    y_labels: Tensor,
    *,
    return_error: Literal[True],
    rtol: float | None = None,
) -> tuple[Tensor, Tensor, Tensor]: ...


def frechet_distance_by_class(
    x: Tensor, x_labels: Tensor, y: Tensor, y_labels: Tensor, *, return_error: bool = False, rtol: float | None = None
) -> tuple[Tensor, ...]:
    """Fréchet distances between two labelled sets, class by class (intra-FID before it is averaged).

    Parameters
    ----------
    x, y : Tensor
        Features ``[N, d]`` and ``[M, d]``, one sample a row; float32, float64, float16 or bfloat16. Covariances are the
        unbiased ones. Everything is computed in float64.
    x_labels, y_labels : Tensor
        ``[N]`` and ``[M]``, integers, in any order. Classes may be of any sizes.
    return_error, rtol
        As in :func:`frechet_distance`.

    Returns
    -------
    classes : Tensor
        ``[C]``, the labels that both sets have, in ascending order.
    distances : Tensor
        ``[C]``, in float32 for half types; :func:`frechet_distance_from_features` of each class.
    errors : Tensor
        ``[C]``, their estimated absolute errors, without a derivative. Only with `return_error`.

    Raises
    ------
    TypeError
        For features that are not floating point or labels that are not integers, or dtypes that differ.
    ValueError
        For features that are not ``[N, d]``, labels that do not match them, a class that both sets have with one sample
        in one of them, numbers of features or devices that differ; on the CPU also for NaN and infinity.
    torch.linalg.LinAlgError
        Where an estimated error exceeds `rtol`.
    NotImplementedError
        For forward-mode and ``torch.func`` derivatives.

    Notes
    -----
    Differentiable as :func:`frechet_distance_from_features` is. The sizes of the classes decide the shapes of what is
    computed: on a GPU the host waits for them.
    """
    name = "frechet_distance_by_class"
    for argument, features in (("x", x), ("y", y)):
        check_samples(name, argument, features)
        if features.dim() != 2:
            raise ValueError(f"{name}: {argument} must be [N, d], got {list(features.shape)}")
    check_same_features(name, x, y)
    first, second = _classes(name, "x", x, x_labels), _classes(name, "y", y, y_labels)
    of_second = {label: i for i, label in enumerate(second.labels.tolist())}
    pairs = [(i, of_second[label]) for i, label in enumerate(first.labels.tolist()) if label in of_second]
    for argument, classes, members in (("x", first, 0), ("y", second, 1)):
        for pair in pairs:
            if classes.counts[pair[members]] < 2:
                label = classes.labels[pair[members]].item()
                raise ValueError(f"{name}: {argument} must have at least 2 samples of class {label}, got 1")
    chunks = list(_chunks(first, second, pairs, x.shape[1]))
    results = []
    for chunk in chunks:
        of_x = _centred(x, first, [pairs[i][0] for i in chunk])
        of_y = _centred(y, second, [pairs[i][1] for i in chunk])
        for argument, (means, *_) in (("x", of_x), ("y", of_y)):
            check_finite(name, argument, means)  # which the samples are if these are, and which are few
        results.append(distances(name, *of_x, *of_y, rtol))
    dtype = accumulator(x.dtype)
    labels = first.labels[[i for i, _ in pairs]]
    if not chunks:
        return (labels, *(x.new_empty(0, dtype=dtype) for _ in range(1 + return_error)))
    place = torch.tensor([i for chunk in chunks for i in chunk], device=x.device).argsort()
    found, errors = (torch.cat(part)[place].to(dtype) for part in zip(*results, strict=True))
    return (labels, found, errors + rounding(found)) if return_error else (labels, found)
