"""The Fréchet distance between Gaussians, from their moments or from features."""

from __future__ import annotations

from typing import Literal, overload

import torch
from torch import Tensor

from fastgan.functional.matrices import norm_of_product, trace_sqrtm_product
from fastgan.ops import checks
from fastgan.ops.layout import accumulator
from fastgan.ops.matrices import check_finite

__all__ = ["frechet_distance", "frechet_distance_from_features"]


@overload
def frechet_distance(
    mu1: Tensor,
    sigma1: Tensor,
    mu2: Tensor,
    sigma2: Tensor,
    *,
    factor1: Tensor | None = None,
    return_error: Literal[False] = False,
    rtol: float | None = None,
) -> Tensor: ...


@overload
def frechet_distance(
    mu1: Tensor,
    sigma1: Tensor,
    mu2: Tensor,
    sigma2: Tensor,
    *,
    factor1: Tensor | None = None,
    return_error: Literal[True],
    rtol: float | None = None,
) -> tuple[Tensor, Tensor]: ...


def frechet_distance(
    mu1: Tensor,
    sigma1: Tensor,
    mu2: Tensor,
    sigma2: Tensor,
    *,
    factor1: Tensor | None = None,
    return_error: bool = False,
    rtol: float | None = None,
) -> Tensor | tuple[Tensor, Tensor]:
    r"""Fréchet distance between Gaussians, the square of their 2-Wasserstein distance.

    .. math:: \lVert \mu_1 - \mu_2 \rVert^2 + \operatorname{tr} \Sigma_1 + \operatorname{tr} \Sigma_2
        - 2 \operatorname{tr} (\Sigma_1 \Sigma_2)^{1/2}

    Parameters
    ----------
    mu1, mu2 : Tensor
        Means ``[..., d]``.
    sigma1, sigma2 : Tensor
        Covariances ``[..., d, d]``, symmetric positive semi-definite, of any rank. All batches broadcast. float32,
        float64, float16 or bfloat16, one dtype for all.
    factor1, return_error, rtol
        As in :func:`trace_sqrtm_product`; the error is that of the distance.

    Returns
    -------
    distance : Tensor
        ``[...]``, in float32 for half types. Rounding may leave a distance of 0 below 0, by no more than the error.
    error : Tensor
        Its estimated absolute error, without a derivative. Only with `return_error`.

    Raises
    ------
    TypeError, ValueError, torch.linalg.LinAlgError, NotImplementedError
        As :func:`trace_sqrtm_product`.

    Notes
    -----
    Differentiable as :func:`trace_sqrtm_product` is.

    D. Dowson, B. Landau, "The Fréchet distance between multivariate normal distributions", 1982; M. Heusel et al.,
    "GANs Trained by a Two Time-Scale Update Rule Converge to a Local Nash Equilibrium", 2017.
    """
    name = "frechet_distance"
    check_moments(name, "1", mu1, sigma1)
    check_moments(name, "2", mu2, sigma2)
    if sigma2.shape[-1] != sigma1.shape[-1]:
        raise ValueError(
            f"{name}: sigma2 must have d = {sigma1.shape[-1]} to match sigma1 {list(sigma1.shape)}, "
            f"got {list(sigma2.shape)}"
        )
    trace, error = trace_sqrtm_product(sigma1, sigma2, factor1=factor1, return_error=True, rtol=rtol)
    mu1, sigma1, mu2, sigma2 = (z.to(accumulator(z.dtype)) for z in (mu1, sigma1, mu2, sigma2))
    total = (mu1 - mu2).square().sum(-1) + traces(sigma1) + traces(sigma2)
    distance = total - 2 * trace
    return (distance, rounding(total) + 2 * error) if return_error else distance


def check_moments(name: str, which: str, mu: Tensor, sigma: Tensor) -> None:
    """Raise unless `mu` is [..., d] and finite, and fits `sigma` [..., d, d], which is checked elsewhere."""
    checks.check_floating(name, f"mu{which}", mu)
    checks.check_floating(name, f"sigma{which}", sigma)
    if sigma.dim() < 2 or sigma.shape[-1] != sigma.shape[-2]:
        raise ValueError(f"{name}: sigma{which} must be [..., d, d], got {list(sigma.shape)}")
    if mu.dtype != sigma.dtype:
        raise TypeError(f"{name}: mu{which} must have sigma{which}'s dtype {sigma.dtype}, got {mu.dtype}")
    if mu.dim() < 1 or mu.shape[-1] != sigma.shape[-1] or mu.device != sigma.device:
        raise ValueError(
            f"{name}: mu{which} must be [..., {sigma.shape[-1]}] on {sigma.device} to match sigma{which} "
            f"{list(sigma.shape)}, got {list(mu.shape)} on {mu.device}"
        )
    check_finite(name, f"mu{which}", mu)


def traces(sigma: Tensor) -> Tensor:
    """Traces of matrices [..., d, d]."""
    return sigma.diagonal(dim1=-2, dim2=-1).sum(-1)


def rounding(total: Tensor) -> Tensor:
    """What rounding leaves uncertain of a difference from `total`."""
    return total.detach().abs() * (4 * torch.finfo(total.dtype).eps)


def centred(x: Tensor) -> tuple[Tensor, Tensor]:
    """Means [..., d] of samples [..., N, d], and rows [..., N - 1, d] with the scatter matrix of the centred samples.

    Centred samples sum to 0: one is superfluous, and their product with others has a singular value of 0, where a norm
    has no second derivative. A reflection that turns the vector of ones into the last axis leaves a last row of 0; the
    others are the samples less one vector.
    """
    mean = x.mean(-2)
    shift = mean - (x[..., -1, :] - mean) / (x.shape[-2] ** 0.5 - 1)
    return mean, x[..., :-1, :] - shift[..., None, :]


def check_samples(name: str, argument: str, x: Tensor) -> None:
    """Raise unless `x` is [..., N, d] with at least two samples."""
    checks.check_floating(name, argument, x)
    if x.dim() < 2:
        raise ValueError(f"{name}: {argument} must be [..., N, d], got {list(x.shape)}")
    if x.shape[-2] < 2:
        raise ValueError(f"{name}: {argument} must have at least 2 samples for a covariance, got {list(x.shape)}")


def check_features(name: str, argument: str, x: Tensor) -> None:
    """Raise unless `x` is [..., N, d] with at least two finite samples."""
    check_samples(name, argument, x)
    check_finite(name, argument, x)


def check_same_features(name: str, x: Tensor, y: Tensor) -> None:
    """Raise unless `y` has the dtype, device and number of features of `x`."""
    if y.dtype != x.dtype:
        raise TypeError(f"{name}: y must have x's dtype {x.dtype}, got {y.dtype}")
    if y.shape[-1] != x.shape[-1] or y.device != x.device:
        raise ValueError(
            f"{name}: y must have d = {x.shape[-1]} features on {x.device} to match x {list(x.shape)}, "
            f"got {list(y.shape)} on {y.device}"
        )


@overload
def frechet_distance_from_features(
    x: Tensor, y: Tensor, *, return_error: Literal[False] = False, rtol: float | None = None
) -> Tensor: ...


@overload
def frechet_distance_from_features(
    x: Tensor, y: Tensor, *, return_error: Literal[True], rtol: float | None = None
) -> tuple[Tensor, Tensor]: ...


def frechet_distance_from_features(
    x: Tensor, y: Tensor, *, return_error: bool = False, rtol: float | None = None
) -> Tensor | tuple[Tensor, Tensor]:
    r"""Fréchet distance between the Gaussians fitted to two sets of features.

    With fewer samples than features no covariance is formed: the trace of the root is the nuclear norm of a product of
    the centred features, which is samples by samples.

    Parameters
    ----------
    x, y : Tensor
        ``[..., N, d]`` and ``[..., M, d]``, one sample a row; batches broadcast. float32, float64, float16 or bfloat16.
        Covariances are the unbiased ones (N - 1). Everything is computed in float64.
    return_error, rtol
        As in :func:`frechet_distance`.

    Returns
    -------
    distance : Tensor
        ``[...]``, in float32 for half types. It is biased upwards by a finite number of samples: compare equal numbers
        only.
    error : Tensor
        Its estimated absolute error, without a derivative. Only with `return_error`.

    Raises
    ------
    TypeError
        For a dtype that is not floating point, or dtypes that differ.
    ValueError
        For fewer than two samples, numbers of features or devices that differ, batches that do not broadcast; on the
        CPU also for NaN and infinity.
    torch.linalg.LinAlgError
        Where the estimated error exceeds `rtol`.
    NotImplementedError
        For forward-mode and ``torch.func`` derivatives.

    Notes
    -----
    The first derivative exists at any rank, the covariances' too. The second exists where the rank is as large as the
    numbers of samples and of features allow.
    """
    name = "frechet_distance_from_features"
    check_features(name, "x", x)
    check_features(name, "y", y)
    check_same_features(name, x, y)
    (mean1, rows1), (mean2, rows2) = centred(x.double()), centred(y.double())
    distance, error = distances(name, mean1, rows1, x.shape[-2] - 1, mean2, rows2, y.shape[-2] - 1, rtol)
    distance, error = (z.to(accumulator(x.dtype)) for z in (distance, error))
    return (distance, error + rounding(distance)) if return_error else distance


def distances(
    name: str,
    mean1: Tensor,
    rows1: Tensor,
    n: Tensor | int,
    mean2: Tensor,
    rows2: Tensor,
    m: Tensor | int,
    rtol: float | None,
) -> tuple[Tensor, Tensor]:
    """The distances, and their estimated errors, of float64 samples that are :func:`centred`, with n + 1 and m + 1."""
    norm, error = norm_of_product(name, rows1, rows2, rtol)
    scatter1, scatter2 = (torch.linalg.vector_norm(rows, dim=(-2, -1)).square() for rows in (rows1, rows2))
    total = (mean1 - mean2).square().sum(-1) + scatter1 / n + scatter2 / m
    factor = 2 / (n * m) ** 0.5
    return total - factor * norm, rounding(total) + factor * error
