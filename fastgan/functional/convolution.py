"""Convolutions that change nothing about an image's size."""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor

from fastgan.functional.activation import bias_act
from fastgan.functional.resampling import check_residual, convolution_padding, upsample_add
from fastgan.ops import checks
from fastgan.ops.conv2d import ALGORITHMS, BACKENDS
from fastgan.ops.conv2d import check_residual as check_residual_size
from fastgan.ops.conv2d import conv2d as _conv2d
from fastgan.ops.conv2d.choice import may_prefer_winograd
from fastgan.ops.piecewise_linear import slope_below
from fastgan.ops.precision import convolution_algorithm
from fastgan.ops.registry import current_backend
from fastgan.ops.resampling import check_convolution, check_size, moments

__all__ = ["allowed_algorithm", "conv2d"]


def allowed_algorithm(name: str, weight: Tensor, sides: list[int] | None, algorithm: str) -> str | None:
    """The algorithm that the op may take with such padding, or None where the convolution is torch's."""
    checks.check_choice(name, "algorithm", algorithm, ALGORITHMS)
    if sides is None or list(weight.shape[2:]) != [3, 3] or max(sides) > 2:
        return None
    if current_backend() not in (None, *BACKENDS):  # of GPUs: there it is torch's
        return None
    return convolution_algorithm(algorithm)


def conv2d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    *,
    padding: str | int | Sequence[int] = 1,
    algorithm: str = "auto",
    act: str = "linear",
    alpha: float | None = None,
    residual: Tensor | None = None,
    return_statistics: bool = False,
) -> Tensor | tuple[Tensor, Tensor]:
    r"""Convolve with stride 1: on CPUs by Winograd's algorithm, where that is faster.

    Equal to ``torch.nn.functional.conv2d(input, weight, bias, padding=padding)`` up to rounding. In one dimension four
    outputs of three taps take six products instead of twelve,

    .. math:: y = A^\top [(G g) \circ (B^\top d)],

    and in two dimensions sixteen outputs take 36 products for each pair of channels instead of 144.

    Parameters
    ----------
    input : Tensor
        ``[N, C_in, H, W]``; float32, float64, float16 or bfloat16; default or channels_last memory format.
    weight : Tensor
        ``[C_out, C_in, kH, kW]``, in input's dtype.
    bias : Tensor, optional
        ``[C_out]``.
    padding : str, int or pair of int, default 1
        Zeros on each side, "same" or "valid", as for :func:`torch.nn.functional.conv2d`, whose default is 0.
    algorithm : str, default "auto"
        ``"winograd"`` wherever it can be had, torch's own with ``"direct"``, the faster one by measurement with
        ``"auto"``, which chooses for the output and each derivative by itself.
        :class:`fastgan.exact_convolutions` makes all of them direct.
    act : str, default "linear"
        Applied to the input: linear, relu or lrelu. By Winograd's algorithm as it reads the input; the activation is
        then neither written nor kept for the backward.
    alpha : float, optional
        Negative slope of lrelu, default 0.2. The other activations have no such parameter.
    residual : Tensor, optional
        Added to the output: of its shape, or of half its height and width, and then nearest-upsampled. In input's dtype
        (under autocast it is cast to the output's).
    return_statistics : bool, default False
        Whether to return the output's statistics too, for :func:`norm_act`.

    Returns
    -------
    output : Tensor
        ``[N, C_out, H + 2 * padding - kH + 1, W + 2 * padding - kW + 1]``; channels_last where input or weight is.
    statistics : Tensor
        ``[2, C_out]``, if `return_statistics`, as of :func:`upsample_conv2d`.

    Raises
    ------
    TypeError
        For dtypes that are not floating point or differ.
    ValueError
        For shapes that do not match, and values out of range.
    NotImplementedError
        For forward-mode and ``torch.func`` derivatives, where Winograd's algorithm is taken.

    Notes
    -----
    Winograd's serves 3×3 kernels with padding up to 2, float32 on CPUs; everything else is torch's own convolution.
    Differentiable to any order with respect to input, weight, bias and residual; the second derivative of the
    activation is undefined in autograd's sense (no gradient). Errors are at most 4e-6 of the result's largest
    magnitude; where a result is infinite or NaN the convolution is computed again directly, so that these appear where
    direct convolution has them and nowhere else.

    A. Lavin, S. Gray, "Fast Algorithms for Convolutional Neural Networks", CVPR 2016.
    """
    name = "conv2d"
    check_convolution(name, input, weight, bias, 1)
    check_residual(name, residual, input)
    slope = slope_below(name, act, alpha)
    sides = convolution_padding(name, padding, weight)
    if sides is not None:
        check_size(name, input, weight, sides, 1, 1)
    allowed = allowed_algorithm(name, weight, sides, algorithm)
    if sides is not None and allowed is not None:
        backend = current_backend()
        if (
            backend is not None
            or allowed == "winograd"
            or (allowed == "auto" and may_prefer_winograd(input, weight, sides))
        ):
            result = _conv2d(
                input, weight, bias, None, act, slope, residual, sides, allowed, return_statistics, backend
            )
            return result if return_statistics else result[0]
    # Ours, not torch's: a penalty on gradients then runs no pass over zeros.
    activated = input if act == "linear" else bias_act(input, act=act, alpha=alpha, gain=1.0)
    output = F.conv2d(activated, weight, bias, padding="same" if sides is None else sides)
    if residual is not None:
        residual = residual.to(output.dtype)
        check_residual_size(name, residual, output, list(output.shape))
        if residual.shape != output.shape:
            return upsample_add(output, residual, return_statistics=return_statistics)
        output = output + residual
    return (output, moments(output)) if return_statistics else output
