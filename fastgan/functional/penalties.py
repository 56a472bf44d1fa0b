"""The parts of a gradient penalty that are not the discriminator's: the points, and what their gradients cost."""

from __future__ import annotations

from typing import Literal, overload

import torch
from torch import Tensor

from fastgan.ops import checks
from fastgan.ops.gradient_norm_penalty import gradient_norm_penalty as _gradient_norm_penalty
from fastgan.ops.interpolate_samples import interpolate_samples as _interpolate_samples
from fastgan.ops.layout import accumulator
from fastgan.ops.registry import current_backend
from fastgan.ops.samples import check_samples

__all__ = ["gradient_norm_penalty", "interpolate_samples"]


def interpolate_samples(input: Tensor, other: Tensor, eps: Tensor | None = None) -> Tensor:
    r"""Take a point between each sample of two batches, at random, in one pass over memory.

    .. math:: \hat x_n = \epsilon_n x_n + (1 - \epsilon_n) y_n, \qquad \epsilon_n \sim U[0, 1]

    It is not :func:`torch.nn.functional.interpolate`, which resizes images.

    Parameters
    ----------
    input : Tensor
        x, ``[N, ...]``; float32, float64, float16 or bfloat16; any memory layout, which the output keeps. Half types
        are computed in float32.
    other : Tensor
        y, of input's shape and dtype (under autocast it is cast to it).
    eps : Tensor, optional
        ``[N]``, of a floating dtype; a constant. Default: ``torch.rand(N)`` from torch's generator of input's device,
        in the type that is computed in: the numbers that ``torch.rand(N, 1, 1, 1)`` would give.

    Returns
    -------
    Tensor
        Of input's shape, dtype and memory layout.

    Raises
    ------
    TypeError
        For a dtype that is not floating point, or other of another dtype than input.
    ValueError
        For input without dimensions, other of another shape, eps that is not ``[N]`` or that requires a gradient, and
        tensors on different devices.
    NotImplementedError
        For forward-mode and ``torch.func`` derivatives.

    Notes
    -----
    Differentiable with respect to input and other to any order.

    I. Gulrajani et al., "Improved Training of Wasserstein GANs", 2017, algorithm 1.
    """
    name = "interpolate_samples"
    check_samples(name, "input", input)
    checks.check_floating(name, "other", other)
    checks.check_same_dtype(name, "other", other, input)
    if other.shape != input.shape:
        raise ValueError(f"{name}: other must be {list(input.shape)} to match input, got {list(other.shape)}")
    batch, dtype = input.shape[0], accumulator(input.dtype)
    if eps is None:
        eps = torch.rand(batch, dtype=dtype, device=input.device)
    else:
        checks.check_floating(name, "eps", eps)
        checks.check_length(name, "eps", eps, batch, f"input {list(input.shape)}")
        if eps.requires_grad:
            raise ValueError(f"{name}: eps must be a constant, got a tensor that requires a gradient")
    return _interpolate_samples(input, other, eps.to(dtype), current_backend())


@overload
def gradient_norm_penalty(
    gradient: Tensor,
    *,
    weight: float,
    center: float | None = None,
    one_sided: bool = False,
    return_scale: Literal[False] = False,
) -> Tensor: ...


@overload
def gradient_norm_penalty(
    gradient: Tensor,
    *,
    weight: float,
    center: float | None = None,
    one_sided: bool = False,
    return_scale: Literal[True],
) -> tuple[Tensor, Tensor]: ...


def gradient_norm_penalty(
    gradient: Tensor,
    *,
    weight: float,
    center: float | None = None,
    one_sided: bool = False,
    return_scale: bool = False,
) -> Tensor | tuple[Tensor, Tensor]:
    r"""Sum a penalty on the norm of each sample's gradient, in one reduction.

    .. math::
        P = w \sum_n \lVert g_n \rVert^2, \qquad
        P = w \sum_n (\lVert g_n \rVert - c)^2, \qquad
        P = w \sum_n \max(0, \lVert g_n \rVert - c)^2,

    without a center, with one, and with one that is one-sided. With B samples R1 has weight :math:`\gamma / 2B`,
    WGAN-GP weight :math:`\lambda / B` and center 1, and WGAN-LP is one-sided besides.

    Parameters
    ----------
    gradient : Tensor
        g, ``[N, ...]``; float32, float64, float16 or bfloat16; any memory layout.
    weight : float
        w.
    center : float, optional
        c, at least 0. Default: none, which is a center of 0 without the root.
    one_sided : bool, default False
        Whether only norms above the center are penalised.
    return_scale : bool, default False
        Whether to return v as well, what the gradient is multiplied by in the penalty's derivative:
        :math:`\partial P / \partial g_n = v_n g_n`.

    Returns
    -------
    penalty : Tensor
        P, a scalar; in float32 for half types, which are summed in float32.
    scale : Tensor
        v, ``[N]``, of the same dtype: :math:`2 w`, or :math:`2 w (\lVert g_n \rVert - c) / \lVert g_n \rVert`. Without
        a derivative. Only with `return_scale`.

    Raises
    ------
    TypeError
        For a dtype that is not floating point, or numbers that are none.
    ValueError
        For a gradient without dimensions, a negative center, and one_sided without a center.
    NotImplementedError
        For forward-mode and ``torch.func`` derivatives.

    Notes
    -----
    Differentiable to any order, from the second on by torch's own ops. Where a sample's gradient is zero every
    derivative is taken as zero, also with a center, where the penalty has a kink there: nothing is NaN. On CPUs a norm
    does not depend on the number of threads.

    L. Mescheder et al., "Which Training Methods for GANs do actually Converge?", 2018 (R1); I. Gulrajani et al.,
    "Improved Training of Wasserstein GANs", 2017; H. Petzka et al., "On the regularization of Wasserstein GANs", 2018.
    """
    name = "gradient_norm_penalty"
    check_samples(name, "gradient", gradient)
    checks.check_number(name, "weight", weight)
    if center is not None:
        checks.check_number(name, "center", center, "None")
        if not center >= 0:
            raise ValueError(f"{name}: center must be None or at least 0, got {center}")
    elif one_sided:
        raise ValueError(f"{name}: center must be a number where one_sided is True, got None")
    penalty, scale = _gradient_norm_penalty(gradient, weight, center, one_sided, current_backend())
    return (penalty, scale) if return_scale else penalty
