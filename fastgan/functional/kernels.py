"""Maximum mean discrepancies between sets of features, summed over tiles of the kernel's matrix in float64."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from fastgan.ops import checks

from .distances import check_features, tiles

__all__ = ["gaussian_mmd", "polynomial_mmd"]

#: The kernel of two tiles of samples, [n, d] and [m, d] in float64, as [n, m].
_Kernel = Callable[[Tensor, Tensor], Tensor]


def _check(function: str, x: Tensor, y: Tensor) -> None:
    check_features(function, x=x, y=y)
    for name, samples in (("x", x), ("y", y)):
        if len(samples) < 2:
            raise ValueError(f"{function}: {name} must be at least two samples, got {list(samples.shape)}")


def _mean(x: Tensor, y: Tensor, kernel: _Kernel) -> Tensor:
    total = x.new_zeros((), dtype=torch.float64)
    for rows in tiles(len(x)):
        own = x[rows].double()
        for columns in tiles(len(y)):
            total += kernel(own, y[columns].double()).sum()
    return total / (len(x) * len(y))


def _mean_within(x: Tensor, kernel: _Kernel, with_itself: bool) -> Tensor:
    """Mean over pairs of samples of one set, each pair of tiles computed once."""
    total = x.new_zeros((), dtype=torch.float64)
    for rows in tiles(len(x)):
        own = x[rows].double()
        values = kernel(own, own)
        total += values.sum() if with_itself else values.sum() - values.trace()
        for columns in tiles(rows.start):
            total += 2 * kernel(own, x[columns].double()).sum()
    return total / (len(x) * (len(x) if with_itself else len(x) - 1))


@torch.no_grad()
def polynomial_mmd(x: Tensor, y: Tensor, degree: int = 3, gamma: float | None = None, coef: float = 1.0) -> Tensor:
    r"""Squared maximum mean discrepancy with the kernel ``(gamma x·y + coef)^degree``, estimated without bias.

    Parameters
    ----------
    x, y : Tensor
        [N, d] and [M, d], N and M at least 2, one sample a row; float32, float64, float16 or bfloat16.
    degree : int, default: 3
        At least 1.
    gamma : float, optional
        Default 1 / d.
    coef : float, default: 1.0

    Returns
    -------
    Tensor
        A float64 scalar; below zero by chance where both sets come from one distribution.

    Raises
    ------
    TypeError
        For features that are not floating point, or arguments that are no numbers.
    ValueError
        For other shapes, a single sample, values that are not finite, or a degree below 1.

    Notes
    -----
    Computed in float64. Memory is a few tiles of 1024 × 1024 values. Not differentiable.

    M. Bińkowski et al., "Demystifying MMD GANs", ICLR 2018 (the kernel Inception distance); A. Gretton et al.,
    "A Kernel Two-Sample Test", 2012, equation 3.
    """
    _check("polynomial_mmd", x, y)
    if isinstance(degree, bool) or not isinstance(degree, int):
        raise TypeError(f"polynomial_mmd: degree must be an integer, got {type(degree).__name__}")
    if degree < 1:
        raise ValueError(f"polynomial_mmd: degree must be at least 1, got {degree}")
    if gamma is not None:
        checks.check_number("polynomial_mmd", "gamma", gamma, "None")
    checks.check_number("polynomial_mmd", "coef", coef)
    scale = 1 / x.shape[1] if gamma is None else gamma

    def kernel(a: Tensor, b: Tensor) -> Tensor:
        return (a @ b.T).mul_(scale).add_(coef).pow_(degree)

    return _mean_within(x, kernel, False) + _mean_within(y, kernel, False) - 2 * _mean(x, y, kernel)


@torch.no_grad()
def gaussian_mmd(x: Tensor, y: Tensor, sigma: float = 10.0) -> Tensor:
    r"""Squared maximum mean discrepancy with the kernel ``exp(-|x - y|² / (2 sigma²))``.

    Each sample is paired with itself too.

    Parameters
    ----------
    x, y : Tensor
        [N, d] and [M, d], N and M at least 2, one sample a row; float32, float64, float16 or bfloat16.
    sigma : float, default: 10.0
        Above 0, in the features' units.

    Returns
    -------
    Tensor
        A float64 scalar, not negative beyond rounding; of the order of 1/N + 1/M where both sets come from one
        distribution (the estimate is biased, and of least variance).

    Raises
    ------
    TypeError
        For features that are not floating point, or sigma that is no number.
    ValueError
        For other shapes, a single sample, values that are not finite, or sigma that is not positive.

    Notes
    -----
    Computed in float64; the kernel's distances from 1 are summed rather than its values, which nearly cancel where
    sigma is large. Memory is a few tiles of 1024 × 1024 values. Not differentiable.

    S. Jayasumana et al., "Rethinking FID: Towards a Better Evaluation Metric for Image Generation", CVPR 2024 (CMMD,
    whose published code multiplies this by 1000); A. Gretton et al., "A Kernel Two-Sample Test", 2012, equation 5.
    """
    _check("gaussian_mmd", x, y)
    checks.check_number("gaussian_mmd", "sigma", sigma)
    if not sigma > 0:
        raise ValueError(f"gaussian_mmd: sigma must be positive, got {sigma}")
    centre = x.double().mean(0)

    def kernel(a: Tensor, b: Tensor) -> Tensor:
        a, b = a - centre, b - centre
        squared = torch.addmm(b.square().sum(1), a, b.T, alpha=-2).add_(a.square().sum(1, keepdim=True))
        return squared.clamp_(min=0).mul_(-0.5 / sigma**2).expm1_()

    return _mean_within(x, kernel, True) + _mean_within(y, kernel, True) - 2 * _mean(x, y, kernel)
