"""Square roots of symmetric positive semi-definite matrices, and traces of those of products."""

from __future__ import annotations

from typing import Literal, overload

import torch
from torch import Tensor

from fastgan.ops import checks
from fastgan.ops.layout import accumulator
from fastgan.ops.matrices import check_finite
from fastgan.ops.product_nuclear_norm import product_nuclear_norm as _product_nuclear_norm
from fastgan.ops.psd_factor import factors
from fastgan.ops.registry import current_backend
from fastgan.ops.sqrtm_psd import sqrtm_psd as _sqrtm_psd
from fastgan.ops.symmetric_eigh import symmetric_eigh as _symmetric_eigh
from fastgan.ops.trace_sqrtm_product import trace_sqrtm_product as _trace_sqrtm_product

__all__ = ["product_nuclear_norm", "psd_factor", "sqrtm_psd", "trace_sqrtm_product"]


def _check_square(name: str, argument: str, matrix: Tensor) -> None:
    checks.check_floating(name, argument, matrix)
    if matrix.dim() < 2 or matrix.shape[-1] != matrix.shape[-2]:
        raise ValueError(f"{name}: {argument} must be [..., d, d], got {list(matrix.shape)}")
    check_finite(name, argument, matrix)


def _check_pair(name: str, first: str, x: Tensor, second: str, y: Tensor) -> torch.Size:
    """The shape that the two batches broadcast to; their last dimension must agree."""
    if y.dtype != x.dtype and not torch.is_autocast_enabled(x.device.type):
        raise TypeError(f"{name}: {second} must have {first}'s dtype {x.dtype}, got {y.dtype}")
    if y.device != x.device:
        raise ValueError(f"{name}: {second} must be on {first}'s device {x.device}, got {y.device}")
    if y.shape[-1] != x.shape[-1]:
        raise ValueError(
            f"{name}: {second} must have d = {x.shape[-1]} to match {first} {list(x.shape)}, got {list(y.shape)}"
        )
    try:
        return torch.broadcast_shapes(x.shape[:-2], y.shape[:-2])
    except RuntimeError:
        raise ValueError(
            f"{name}: {second} must have a batch that broadcasts with that of {first} {list(x.shape)}, "
            f"got {list(y.shape)}"
        ) from None


def _check_rtol(name: str, rtol: float | None) -> None:
    if rtol is not None:
        checks.check_number(name, "rtol", rtol, "None")
        if not rtol > 0:
            raise ValueError(f"{name}: rtol must be None or above 0, got {rtol}")


def _batched(x: Tensor, batch: torch.Size, dtype: torch.dtype) -> Tensor:
    """[..., m, n] as [B, m, n] of a dtype; a single matrix stays one in memory."""
    x = x.to(dtype)
    if x.dim() == 2:
        return x.expand(batch.numel(), *x.shape)
    return x.expand(*batch, *x.shape[-2:]).reshape(batch.numel(), *x.shape[-2:])


def _check_factor(name: str, factor1: Tensor, sigma1: Tensor) -> None:
    checks.check_floating(name, "factor1", factor1)
    if factor1.dtype != sigma1.dtype:
        raise TypeError(f"{name}: factor1 must have sigma1's dtype {sigma1.dtype}, got {factor1.dtype}")
    if factor1.shape[:-1] != sigma1.shape[:-1] or factor1.device != sigma1.device:
        expected = f"[{', '.join(map(str, sigma1.shape[:-1]))}, r]"
        raise ValueError(
            f"{name}: factor1 must be {expected} on {sigma1.device} to match sigma1, got {list(factor1.shape)} on "
            f"{factor1.device}"
        )


def check_error(name: str, error: Tensor, scale: Tensor, rtol: float | None) -> None:
    """torch.linalg.LinAlgError where an error estimate exceeds `rtol` of `scale`."""
    if rtol is None:
        return
    relative = (error / torch.where(scale > 0, scale, 1.0)).detach()
    if not (relative <= rtol).all():
        raise torch.linalg.LinAlgError(
            f"{name}: the estimated error is {relative.max().item():.2g} of (tr Σ₁ tr Σ₂)^½, above rtol={rtol:g}"
        )


@overload
def trace_sqrtm_product(
    sigma1: Tensor,
    sigma2: Tensor,
    *,
    factor1: Tensor | None = None,
    return_error: Literal[False] = False,
    rtol: float | None = None,
) -> Tensor: ...


@overload
def trace_sqrtm_product(
    sigma1: Tensor,
    sigma2: Tensor,
    *,
    factor1: Tensor | None = None,
    return_error: Literal[True],
    rtol: float | None = None,
) -> tuple[Tensor, Tensor]: ...


def trace_sqrtm_product(
    sigma1: Tensor,
    sigma2: Tensor,
    *,
    factor1: Tensor | None = None,
    return_error: bool = False,
    rtol: float | None = None,
) -> Tensor | tuple[Tensor, Tensor]:
    r"""Trace of the square root of a product of covariances, :math:`\operatorname{tr}(\Sigma_1 \Sigma_2)^{1/2}`.

    With :math:`\Sigma_1 = A A^T` and :math:`\Sigma_2 = B B^T` it is the sum of the singular values of :math:`A^T B`: no
    square root of the non-symmetric product is taken.

    Parameters
    ----------
    sigma1, sigma2 : Tensor
        ``[..., d, d]``, symmetric positive semi-definite, of any rank; batches broadcast. float32, float64, float16 or
        bfloat16. On the CPU everything is computed in float64, and the lower triangles are read.
    factor1 : Tensor, optional
        :func:`psd_factor` of sigma1, ``[..., d, r]``, where it is known; a constant of sigma1's dtype. It saves
        the time to factor sigma1 again.
    return_error : bool, default False
        Whether to return the estimated error as well.
    rtol : float, optional
        The largest error wanted, relative to :math:`(\operatorname{tr} \Sigma_1 \operatorname{tr} \Sigma_2)^{1/2}`.
        A slower method is chosen where a faster one does not reach it, and where none does, an exception is raised,
        which makes the host wait for a GPU. Default: 1e-10 on the CPU, and no exception.

    Returns
    -------
    trace : Tensor
        ``[...]``, in float32 for half types.
    error : Tensor
        Its estimated absolute error, without a derivative. Where the rank is deficient, what the rounding of sigma
        itself does is not part of it. Only with `return_error`.

    Raises
    ------
    TypeError
        For a dtype that is not floating point, or dtypes that differ.
    ValueError
        For matrices that are not square or of different d, batches that do not broadcast and different devices; on the
        CPU also for NaN, infinity, and matrices that are not positive semi-definite.
    torch.linalg.LinAlgError
        Where the estimated error exceeds `rtol`.
    NotImplementedError
        For forward-mode and ``torch.func`` derivatives.

    Notes
    -----
    Differentiable to any order where both matrices have full rank. Elsewhere the derivative with respect to a
    covariance is infinite, and asking for it is a ValueError on the CPU: differentiate with respect to the features.
    """
    name = "trace_sqrtm_product"
    _check_square(name, "sigma1", sigma1)
    _check_square(name, "sigma2", sigma2)
    batch = _check_pair(name, "sigma1", sigma1, "sigma2", sigma2)
    _check_rtol(name, rtol)
    dtype = accumulator(sigma1.dtype)
    s1, s2 = _batched(sigma1, batch, dtype), _batched(sigma2, batch, dtype)
    if factor1 is not None:
        _check_factor(name, factor1, sigma1)
        factor1 = _batched(factor1.detach(), batch, dtype)
    trace, error = _trace_sqrtm_product(s1, s2, factor1, rtol, current_backend())
    if rtol is not None:
        traces = [s.diagonal(dim1=-2, dim2=-1).sum(-1) for s in (s1, s2)]
        check_error(name, error, (traces[0] * traces[1]).sqrt(), rtol)
    trace, error = trace.reshape(batch), error.reshape(batch)
    return (trace, error) if return_error else trace


@overload
def product_nuclear_norm(
    x: Tensor, y: Tensor, *, return_error: Literal[False] = False, rtol: float | None = None
) -> Tensor: ...


@overload
def product_nuclear_norm(
    x: Tensor, y: Tensor, *, return_error: Literal[True], rtol: float | None = None
) -> tuple[Tensor, Tensor]: ...


def product_nuclear_norm(
    x: Tensor, y: Tensor, *, return_error: bool = False, rtol: float | None = None
) -> Tensor | tuple[Tensor, Tensor]:
    r"""Nuclear norm (sum of singular values) of :math:`X Y^T`.

    Where X and Y are centred features, a sample a row, it is :math:`\operatorname{tr}(\Sigma_1 \Sigma_2)^{1/2}` of
    their scatter matrices :math:`X^T X` and :math:`Y^T Y`. Of these and :math:`X Y^T` only the smaller are formed.

    Parameters
    ----------
    x, y : Tensor
        ``[..., m, d]`` and ``[..., n, d]``; batches broadcast. float32, float64, float16 or bfloat16. On the CPU
        everything is computed in float64.
    return_error : bool, default False
        Whether to return the estimated error as well.
    rtol : float, optional
        As in :func:`trace_sqrtm_product`, relative to the product of the Frobenius norms of X and Y.

    Returns
    -------
    norm : Tensor
        ``[...]``, in float32 for half types.
    error : Tensor
        Its estimated absolute error, without a derivative. Only with `return_error`.

    Raises
    ------
    TypeError
        For a dtype that is not floating point, or dtypes that differ.
    ValueError
        For tensors of less than two dimensions or of different d, batches that do not broadcast and different devices;
        on the CPU also for NaN and infinity.
    torch.linalg.LinAlgError
        Where the estimated error exceeds `rtol`.
    NotImplementedError
        For forward-mode and ``torch.func`` derivatives.

    Notes
    -----
    The first derivative exists at any rank (:math:`Q Y` with respect to X, Q the polar factor of :math:`X Y^T` without
    its null space), and costs a singular value decomposition. Higher ones exist where the smaller of the matrices has
    full rank.
    """
    name = "product_nuclear_norm"
    for argument, tensor in (("x", x), ("y", y)):
        checks.check_floating(name, argument, tensor)
        if tensor.dim() < 2:
            raise ValueError(f"{name}: {argument} must be [..., m, d], got {list(tensor.shape)}")
        check_finite(name, argument, tensor)
    norm, error = norm_of_product(name, x, y, rtol)
    return (norm, error) if return_error else norm


def norm_of_product(name: str, x: Tensor, y: Tensor, rtol: float | None) -> tuple[Tensor, Tensor]:
    """:func:`product_nuclear_norm` and its error, of matrices that are known to be finite, for the function `name`."""
    batch = _check_pair(name, "x", x, "y", y)
    _check_rtol(name, rtol)
    dtype = accumulator(x.dtype)
    u, v = _batched(x, batch, dtype), _batched(y, batch, dtype)
    norm, error = _product_nuclear_norm(u, v, rtol, current_backend())
    if rtol is not None:
        scale = torch.linalg.vector_norm(u, dim=(1, 2)) * torch.linalg.vector_norm(v, dim=(1, 2))
        check_error(name, error, scale, rtol)
    return norm.reshape(batch), error.reshape(batch)


def psd_factor(sigma: Tensor) -> Tensor:
    r"""Factor a covariance on the CPU, in float64: the A with :math:`\Sigma = A A^T` and as many columns as its rank.

    Parameters
    ----------
    sigma : Tensor
        ``[d, d]``, symmetric positive semi-definite, whose lower triangle is read; float32, float64, float16 or
        bfloat16, on any device.

    Returns
    -------
    Tensor
        ``[d, r]``, float64, on the CPU, without a derivative: Cholesky's lower triangle at full rank, and otherwise the
        columns of Cholesky's factorisation with pivots that are beyond the rounding of sigma.

    Raises
    ------
    TypeError
        For a dtype that is not floating point.
    ValueError
        For a matrix that is not square or not positive semi-definite, NaN and infinity.
    """
    name = "psd_factor"
    sigma = sigma.detach().cpu()
    _check_square(name, "sigma", sigma)
    if sigma.dim() != 2:
        raise ValueError(f"{name}: sigma must be [d, d], got {list(sigma.shape)}")
    return factors(name, "sigma", sigma[None])[0].matrix


def sqrtm_psd(matrix: Tensor) -> Tensor:
    r"""Square root of symmetric positive semi-definite matrices: the X with :math:`X X = M` that is one itself.

    Parameters
    ----------
    matrix : Tensor
        ``[..., n, n]``, whose lower triangles are read; float32, float64, float16 or bfloat16 (computed in float32).

    Returns
    -------
    Tensor
        Of matrix's shape and dtype, symmetric. Eigenvalues that rounding makes negative count as 0.

    Raises
    ------
    TypeError
        For a dtype that is not floating point.
    ValueError
        For matrices that are not square; on the CPU also for NaN, infinity, and matrices that are not positive
        semi-definite.
    NotImplementedError
        For forward-mode and ``torch.func`` derivatives.

    Notes
    -----
    Differentiable to any order, also where eigenvalues are repeated: the derivative solves :math:`X G + G X = dX` and
    divides by sums of roots only. It is symmetric, as the derivative with respect to a symmetric matrix. Between
    eigenvectors whose eigenvalues are both 0 it is infinite, and taken as 0.

    P. Li et al., "Is Second-order Information Helpful for Large-scale Visual Recognition?", 2017 (as a layer).
    """
    name = "sqrtm_psd"
    _check_square(name, "matrix", matrix)
    batch = matrix.shape[:-2]
    m = _batched(matrix, batch, accumulator(matrix.dtype))
    backend = current_backend()
    eigenvalues, vectors = _symmetric_eigh(m.detach(), True, backend)
    return _sqrtm_psd(m, eigenvalues, vectors, backend).reshape(matrix.shape).to(matrix.dtype)
