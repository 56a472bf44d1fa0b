"""The polar factor of square matrices, by products of matrices alone."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

from fastgan.ops import checks
from fastgan.ops.polar_factor import polar_factor as _polar_factor
from fastgan.ops.registry import current_backend

__all__ = ["PolarFactor", "polar_factor"]


class PolarFactor(NamedTuple):
    """What :func:`polar_factor` returns."""

    polar: Tensor
    nuclear_norm: Tensor
    residual: Tensor


def polar_factor(matrix: Tensor, *, steps: int = 10) -> PolarFactor:
    r"""Compute the orthogonal polar factor of square matrices, and their nuclear norms, in a fixed number of steps.

    For :math:`M = U \Sigma V^T` the polar factor is :math:`Q = U V^T`, and the nuclear norm, the sum of the singular
    values, is :math:`\operatorname{tr} Q^T M`. Each step is :math:`X \leftarrow X (a I + b G + c G^2)` with
    :math:`G = X^T X` and coefficients of its own: products of matrices and nothing else, so that the host never waits
    for a GPU, and a CUDA graph can capture the call after a first one.

    Parameters
    ----------
    matrix : Tensor
        M, ``[..., n, n]``; float32, float64, float16 or bfloat16. Half types are computed in float32.
    steps : int, default 10
        At least 4. Singular values below 2^-16 (float32) or 2^-15 (float64) of the bound :math:`(\sum \sigma^4)^{1/4}`
        of the largest have not arrived at 1 after 10 steps; every step more or less is a factor of 4.

    Returns
    -------
    polar : Tensor
        Q, ``[..., n, n]`` of matrix's dtype. In the directions in which M is zero, or as good as zero, it is not
        orthogonal: there is nothing to tell the direction. A zero matrix gives zero.
    nuclear_norm : Tensor
        :math:`\operatorname{tr} Q^T M`, ``[...]`` in float64 for float64, otherwise in float32. It never exceeds the
        nuclear norm by more than rounding.
    residual : Tensor
        :math:`|\operatorname{tr} Q^T M (I - Q^T Q)|`, ``[...]``: an estimate of what nuclear_norm lacks. Singular
        values count by their size, so that it falls for singular matrices too, where :math:`\|I - Q^T Q\|` never does.

    Raises
    ------
    TypeError
        For a dtype that is not floating point, or steps that is no integer.
    ValueError
        For a matrix that is not ``[..., n, n]``, or too few steps.
    NotImplementedError
        For forward-mode and ``torch.func`` derivatives.

    Notes
    -----
    The nuclear norm is differentiable to any order; its derivative is Q, which costs nothing. polar and residual are
    not differentiable. NaN and infinities make their whole matrix NaN.

    The largest errors of nuclear_norm, relative, that the tests allow are 1e-5 in float32 and 1e-12 in float64, where
    no singular value is too small for the steps. On NVIDIA GPUs float32 is multiplied as three products in TF32. One
    would leave an error of 2e-5 at full rank and 3e-4 for singular matrices, and bfloat16 gives no digit of use; where
    the reference serves, it follows ``torch.backends.cuda.matmul.allow_tf32``.

    N. Amsel, D. Persson, C. Musco, R. M. Gower, "The Polar Express: Optimal Matrix Sign Methods and Their Application
    to the Muon Algorithm", 2025.
    """
    checks.check_floating("polar_factor", "matrix", matrix)
    if isinstance(steps, bool) or not isinstance(steps, int):
        raise TypeError(f"polar_factor: steps must be an integer, got {type(steps).__name__}")
    return PolarFactor(*_polar_factor(matrix, steps, current_backend()))
