"""Fréchet distances against the computations of torchmetrics, scipy and of the textbook; roots of small matrices."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from fastgan.functional import frechet_distance, frechet_distance_by_class, sqrtm_psd
from fastgan.metrics.reference import FrechetReference

from ..case import FORWARD, Bind, Bound, Case, Side, stateless

__all__ = ["cases"]

Moments = tuple[Tensor, Tensor, Tensor, Tensor]
Trace = Callable[[Tensor, Tensor], Tensor]


def _covariance(d: int, generator: torch.Generator) -> Tensor:
    """Of 2 d + 2 samples with variances that fall to a thousandth, rotated at random."""
    mix = torch.randn(d, d, generator=generator, dtype=torch.float64) / d**0.5
    x = torch.randn(2 * d + 2, d, generator=generator, dtype=torch.float64)
    return torch.cov((x * torch.logspace(0, -1.5, d, dtype=torch.float64) @ mix).T).reshape(d, d)


def _moments(d: int) -> Moments:
    generator = torch.Generator().manual_seed(0)
    mu1, mu2 = torch.randn(2, d, generator=generator, dtype=torch.float64)
    return mu1, _covariance(d, generator), mu2, _covariance(d, generator)


def _by_eigvals(sigma1: Tensor, sigma2: Tensor) -> Tensor:
    """What torchmetrics computes."""
    return torch.linalg.eigvals(sigma1 @ sigma2).sqrt().real.sum()


def _by_sqrtm(sigma1: Tensor, sigma2: Tensor) -> Tensor:
    """What pytorch-fid computes."""
    from scipy.linalg import sqrtm

    return torch.from_numpy(sqrtm((sigma1 @ sigma2).cpu().numpy()).real).trace()


def _by_eigh(sigma1: Tensor, sigma2: Tensor) -> Tensor:
    """The symmetric form, with a root of one of the covariances."""
    values, vectors = torch.linalg.eigh(sigma1)
    root = vectors * values.clamp_min(0).sqrt() @ vectors.mT
    return torch.linalg.eigvalsh(root @ sigma2 @ root).clamp_min(0).sqrt().sum()


def _distance(trace: Trace) -> Callable[..., Tensor]:
    def distance(mu1: Tensor, sigma1: Tensor, mu2: Tensor, sigma2: Tensor) -> Tensor:
        total = (mu1 - mu2).square().sum() + sigma1.trace() + sigma2.trace()
        return total - 2 * trace(sigma1, sigma2)

    return distance


def _cached(inputs: tuple[Tensor, ...]) -> Bound:
    reference = FrechetReference.from_moments(*inputs[:2])
    return Bound(lambda mu, sigma: reference.distance(mu, sigma)[0], inputs[2:], ())


def _moments_case(d: int, ours: Side, label: str = "", overhead: bool = False, quick: bool = False) -> Case:
    return Case(
        family="frechet",
        name=f"moments, d = {d}{label}",
        workload={"d": d, "dtype": "torch.float64"},
        inputs=functools.partial(_moments, d),
        ours=[ours],
        peers=[
            Side("eigvals, as torchmetrics", stateless(_distance(_by_eigvals))),
            Side("scipy's sqrtm, as pytorch-fid", stateless(_distance(_by_sqrtm))),
            Side("eigh and eigvalsh", stateless(_distance(_by_eigh))),
        ],
        reference=stateless(_distance(_by_eigh)),
        dtype=torch.float64,
        bytes={FORWARD: 2 * 8 * d * (d + 1)},
        # Two factorisations, a product of triangles, one triangle of a Gram matrix, and its reduction.
        flops={FORWARD: (2 + 2 + 3 + 4) * d**3 // 3},
        modes=(FORWARD,),
        overhead=overhead,
        quick=quick,
    )


def _labelled(classes: int, samples: int, d: int) -> tuple[Tensor, ...]:
    generator = torch.Generator().manual_seed(0)
    sets: list[Tensor] = []
    for _ in range(2):
        labels = torch.arange(classes).repeat_interleave(samples)
        labels = labels[torch.randperm(len(labels), generator=generator)]
        sets += [torch.randn(len(labels), d, generator=generator) + 0.1 * labels[:, None], labels]
    return tuple(sets)


def _each_class(distance: Callable[[Tensor, Tensor], Tensor]) -> Callable[..., Tensor]:
    def distances(x: Tensor, of_x: Tensor, y: Tensor, of_y: Tensor) -> Tensor:
        return torch.stack([distance(x[of_x == c].double(), y[of_y == c].double()) for c in range(int(of_x.max()) + 1)])

    return distances


def _of_covariances(x: Tensor, y: Tensor) -> Tensor:
    return _distance(_by_eigvals)(x.mean(0), torch.cov(x.T), y.mean(0), torch.cov(y.T))


def _of_features(x: Tensor, y: Tensor) -> Tensor:
    u, v = ((z - z.mean(0)) / (len(z) - 1) ** 0.5 for z in (x, y))
    total = (x.mean(0) - y.mean(0)).square().sum() + u.square().sum() + v.square().sum()
    return total - 2 * torch.linalg.svdvals(u @ v.mT).sum()


def _class_case(classes: int, peers: Sequence[Side], samples: int = 50, d: int = 2048, quick: bool = False) -> Case:
    n = classes * samples
    return Case(
        family="frechet",
        name=f"{classes} classes x {samples} samples, d = {d}",
        workload={"classes": classes, "samples": samples, "d": d, "dtype": "torch.float32"},
        inputs=functools.partial(_labelled, classes, samples, d),
        ours=[Side("fastgan", stateless(lambda *inputs: frechet_distance_by_class(*inputs)[1]))],
        peers=[*peers, Side("singular values, each class", stateless(_each_class(_of_features)))],
        reference=stateless(_each_class(_of_features)),
        dtype=torch.float32,
        bytes={FORWARD: 2 * 4 * n * d},
        flops={FORWARD: classes * (2 * samples**2 * d + 4 * samples**3)},
        modes=(FORWARD,),
        quick=quick,
    )


def _matrices(batch: int, n: int, dtype: torch.dtype) -> tuple[Tensor, ...]:
    x = torch.randn(batch, n, 2 * n, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return ((x @ x.mT / (2 * n)).to(dtype),)


def _root(matrix: Tensor) -> Tensor:
    values, vectors = torch.linalg.eigh(matrix)
    return vectors * values.clamp_min(0).sqrt()[..., None, :] @ vectors.mT


def _root_case(batch: int, n: int, dtype: torch.dtype, overhead: bool = False) -> Case:
    each: Bind = stateless(lambda matrices: torch.stack([_root(m) for m in matrices]))
    workload: dict[str, Any] = {"batch": batch, "n": n, "dtype": str(dtype)}
    return Case(
        family="frechet",
        name=f"roots of {batch} matrices {n}x{n} {str(dtype).removeprefix('torch.')}",
        workload=workload,
        inputs=functools.partial(_matrices, batch, n, dtype),
        ours=[Side("fastgan", stateless(sqrtm_psd))],
        peers=[Side("eigh of the batch", stateless(_root)), Side("eigh of each", each)],
        reference=stateless(_root),
        dtype=dtype,
        bytes={FORWARD: 2 * batch * n * n * dtype.itemsize},
        # The reduction, the reflectors' product, three multiplications of rotations, and the root.
        flops={FORWARD: batch * (4 + 4 + 18 + 6) * n**3 // 3},
        modes=(FORWARD,),
        overhead=overhead,
        quick=True,
    )


def cases(device: torch.device) -> list[Case]:
    """The cases; the first is the one that the project states a target for."""
    plain, loop = Side("fastgan", stateless(frechet_distance)), stateless(_each_class(_of_covariances))
    return [
        _moments_case(2048, plain),
        _moments_case(2048, Side("fastgan, the reference cached", _cached), ", the reference cached"),
        _moments_case(512, plain, quick=True),
        _class_case(1000, []),
        _class_case(5, [Side("eigvals of covariances, each class", loop)]),
        _root_case(500, 100, torch.float64),
        _root_case(500, 100, torch.float32),
        _root_case(1, 4, torch.float32, overhead=True),
        _moments_case(4, plain, overhead=True, quick=True),
    ]
