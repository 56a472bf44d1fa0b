"""Convolutions that change nothing about an image's size."""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor

from fastgan.functional.resampling import convolution_padding
from fastgan.ops import checks
from fastgan.ops.conv2d import ALGORITHMS
from fastgan.ops.conv2d import conv2d as _conv2d
from fastgan.ops.conv2d.choice import may_prefer_winograd
from fastgan.ops.precision import exact_convolutions_wanted
from fastgan.ops.registry import current_backend
from fastgan.ops.resampling import check_convolution, check_size

__all__ = ["conv2d"]


def conv2d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    *,
    padding: str | int | Sequence[int] = 1,
    algorithm: str = "auto",
) -> Tensor:
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

    Returns
    -------
    Tensor
        ``[N, C_out, H + 2 * padding - kH + 1, W + 2 * padding - kW + 1]``; channels_last where input or weight is.

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
    Differentiable to any order with respect to input, weight and bias. Errors are at most 4e-6 of the result's largest
    magnitude; where a result is infinite or NaN the convolution is computed again directly, so that these appear where
    direct convolution has them and nowhere else.

    A. Lavin, S. Gray, "Fast Algorithms for Convolutional Neural Networks", CVPR 2016.
    """
    name = "conv2d"
    check_convolution(name, input, weight, bias, 1)
    checks.check_choice(name, "algorithm", algorithm, ALGORITHMS)
    sides = convolution_padding(name, padding, weight)
    if sides is not None:
        check_size(name, input, weight, sides, 1, 1)
    if sides is not None and list(weight.shape[2:]) == [3, 3] and max(sides) <= 2:
        backend = current_backend()
        algorithm = "direct" if exact_convolutions_wanted() else algorithm
        if (
            backend is not None
            or algorithm == "winograd"
            or (algorithm == "auto" and may_prefer_winograd(input, weight, sides))
        ):
            return _conv2d(input, weight, bias, sides, algorithm, backend)
    return F.conv2d(input, weight, bias, padding="same" if sides is None else sides)
