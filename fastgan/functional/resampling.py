"""Convolutions beside an upsampling or a pooling, and the passes that go with them."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from fastgan.functional.activation import bias_act
from fastgan.functional.fir import check_filter, convolve_upsampled
from fastgan.ops import checks
from fastgan.ops.box_filter2d import box_filter2d as _box_filter2d
from fastgan.ops.conv2d_avg_pool2d import conv2d_avg_pool2d as _conv2d_avg_pool2d
from fastgan.ops.piecewise_linear import slope_below
from fastgan.ops.precision import convolution_algorithm
from fastgan.ops.registry import current_backend
from fastgan.ops.resampling import check_convolution, check_size, moments
from fastgan.ops.resampling import check_residual as check_residual_size
from fastgan.ops.resampling_choice import prefers_stock
from fastgan.ops.upsample_add import upsample_add as _upsample_add
from fastgan.ops.upsample_conv2d import upsample_conv2d as _upsample_conv2d

__all__ = [
    "box_filter2d",
    "check_residual",
    "conv2d_avg_pool2d",
    "convolution_padding",
    "upsample_add",
    "upsample_conv2d",
]


def convolution_padding(function: str, padding: str | int | Sequence[int], weight: Tensor) -> list[int] | None:
    """Rows and columns of zeros on each side; None for an even kernel's "same", which has one more on one side."""
    kernel = list(weight.shape[2:])
    if padding == "same":
        return None if any(k % 2 == 0 for k in kernel) else [k // 2 for k in kernel]
    if padding == "valid":
        return [0, 0]
    sides = [padding] * 2 if isinstance(padding, int) else list(padding) if isinstance(padding, (list, tuple)) else []
    message = f"{function}: padding must be 'same', 'valid' or one or two integers of at least 0, got {padding!r}"
    if not isinstance(padding, (str, int, list, tuple)) or any(type(p) is not int for p in sides):
        raise TypeError(message)
    if len(sides) != 2 or min(sides) < 0:
        raise ValueError(message)
    return sides


def check_residual(function: str, residual: Tensor | None, input: Tensor) -> None:
    """TypeError unless there is none, or one of input's dtype; its shape is compared with the output's later."""
    if residual is not None:
        checks.check_floating(function, "residual", residual)
        checks.check_same_dtype(function, "residual", residual, input)


def _factor(function: str, argument: str, given: int) -> None:
    if isinstance(given, bool) or not isinstance(given, int):
        raise TypeError(f"{function}: {argument} must be an integer, got {type(given).__name__}")
    if given < 1:
        raise ValueError(f"{function}: {argument} must be at least 1, got {given}")


def _finished(output: Tensor, residual: Tensor | None, return_statistics: bool) -> Tensor | tuple[Tensor, Tensor]:
    """What the op fuses, for the output of torch's ops."""
    if residual is not None:
        residual = residual.to(output.dtype)
        check_residual_size("upsample_conv2d", residual, output, list(output.shape))
        output = output + residual
    return (output, moments(output)) if return_statistics else output


def upsample_conv2d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    *,
    scale_factor: int = 2,
    mode: str = "nearest",
    filter: Tensor | None = None,
    padding: str | int | Sequence[int] = "same",
    groups: int = 1,
    residual: Tensor | None = None,
    return_statistics: bool = False,
) -> Tensor | tuple[Tensor, Tensor]:
    r"""Convolve the nearest-upsampled input, which is never written: a quarter of the multiplications.

    Equal to ``conv2d(interpolate(input, scale_factor=2), weight, bias, padding=padding, groups=groups)`` by

    .. math:: w * \operatorname{up}(x) = \operatorname{Box}_{2 \times 2}(\bar w *_{\uparrow 2} x)

    where the right side is a transposed convolution of stride 2 with the flipped weight.

    Parameters
    ----------
    input : Tensor
        ``[N, C_in, H, W]``; float32, float64, float16 or bfloat16; default or channels_last memory format.
    weight : Tensor
        ``[C_out, C_in / groups, kH, kW]``, in input's dtype.
    bias : Tensor, optional
        ``[C_out]``.
    scale_factor : int, default 2
        Of the upsampling.
    mode : str, default "nearest"
        Of the upsampling: nearest, or fir for zero insertion and a low-pass filter, as in StyleGAN2.
    filter : Tensor, optional
        The low-pass filter of ``mode="fir"``, ``[taps]`` or ``[height, width]``. Default: ``[1, 3, 3, 1] / 8``.
    padding : str, int or pair of int, default "same"
        Zeros on each side of the upsampled image, as for :func:`torch.nn.functional.conv2d`.
    groups : int, default 1
    residual : Tensor, optional
        Of the output's shape and input's dtype (under autocast it is cast to the output's): added in the pass that adds
        the bias, for a skip connection.
    return_statistics : bool, default False
        Whether to return the output's statistics too, gathered in the same pass, for :func:`norm_act`.

    Returns
    -------
    output : Tensor
        ``[N, C_out, H_out, W_out]`` with ``H_out = scale_factor * H`` for "same", else
        ``scale_factor * H + 2 * padding - kH + 1``; channels_last where input or weight is.
    statistics : Tensor
        ``[2, C_out]``, if `return_statistics`: means over samples and pixels, and sums of squared deviations; float32
        for half types. Without a derivative of their own: :func:`norm_act` has that of the statistics.

    Raises
    ------
    TypeError
        For dtypes that are not floating point or differ, and arguments of the wrong type.
    ValueError
        For shapes that do not match, and values out of range.
    NotImplementedError
        For forward-mode and ``torch.func`` derivatives.

    Notes
    -----
    Differentiable to any order with respect to input, weight, bias and residual, by the same forms. The identity serves
    a scale_factor of 2 with any kernel size and ``padding <= size - 2``, and 1×1 kernels without padding, which are
    applied before the upsampling. Other cases (another scale_factor, an even kernel with "same", wider padding), and on
    CPUs work too small to earn the calls back, are upsampled and convolved one after the other. Under autocast it runs
    in autocast's dtype, as convolutions do.

    bfloat16, and float16 on GPUs, round once more than stock, beside the box filter. Each element of the output and of
    the first derivatives is off by at most :math:`u (|y| + Y)`, where u is the type's unit roundoff (2⁻⁸ and 2⁻¹¹) and
    Y what the stock pair gives for the magnitudes of its arguments: more than stock where products cancel, as for
    smooth images and kernels that sum to zero. On data of random sign the root mean square error is up to 1.5 times
    stock's. float16 on CPUs is computed in float32 and rounded once.

    3×3 kernels with padding 1 in float32 on CPUs are computed by Winograd's algorithm where that is faster, with errors
    of at most 4e-6 of the result's largest magnitude, unless :class:`fastgan.exact_convolutions` turns it off.

    With ``mode="fir"`` the transposed convolution comes first and the filter after it, which is what StyleGAN2 defines:
    it differs from :func:`upsample2d` and a convolution in the outermost pixels, beyond which the filtered image goes
    on. T. Karras et al., "Analyzing and Improving the Image Quality of StyleGAN", 2020, appendix B.
    """
    name = "upsample_conv2d"
    check_convolution(name, input, weight, bias, groups)
    check_residual(name, residual, input)
    _factor(name, "scale_factor", scale_factor)
    checks.check_choice(name, "mode", mode, ("nearest", "fir"))
    sides = convolution_padding(name, padding, weight)
    if sides is not None:
        check_size(name, input, weight, sides, scale_factor, 1)
    if filter is not None and mode != "fir":
        raise ValueError(f"{name}: filter must be None for mode='{mode}', which has none, got {list(filter.shape)}")
    if mode == "fir":
        if sides is None:
            raise ValueError(f"{name}: padding must be integers for mode='fir' and an even kernel, got 'same'")
        taps = torch.tensor([0.125, 0.375, 0.375, 0.125], device=input.device) if filter is None else filter
        check_filter(name, taps, input)
        output = convolve_upsampled(input, weight, (sides[0], sides[1]), scale_factor, taps, groups)
        return _finished(output if bias is None else bias_act(output, bias), residual, return_statistics)
    backend = current_backend()
    if scale_factor != 2 or sides is None or (backend is None and prefers_stock(input, weight, 4)):
        upsampled = F.interpolate(input, scale_factor=float(scale_factor))
        output = F.conv2d(upsampled, weight, bias, padding="same" if sides is None else sides, groups=groups)
        return _finished(output, residual, return_statistics)
    result = _upsample_conv2d(
        input, weight, bias, sides, groups, residual, return_statistics, convolution_algorithm(), backend
    )
    return result if return_statistics else result[0]


def conv2d_avg_pool2d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    *,
    kernel_size: int = 2,
    padding: str | int | Sequence[int] = "same",
    groups: int = 1,
    act: str = "linear",
    alpha: float | None = None,
) -> Tensor:
    r"""Convolve, and average what the convolution gives over blocks of pixels: a quarter of the multiplications.

    Equal to ``avg_pool2d(conv2d(act(input), weight, bias, padding=padding, groups=groups), 2)`` by

    .. math:: \operatorname{pool}_2(w * x) = w *_{\downarrow 2} \tfrac14 \operatorname{Box}_{2 \times 2}(x)

    where the right side is a convolution of stride 2. The activation is part of the box filter's pass: what it gives is
    neither written nor kept for the backward.

    Parameters
    ----------
    input, weight, bias, padding, groups
        As for :func:`upsample_conv2d`.
    kernel_size : int, default 2
        Of the pooling, and its stride.
    act : str, default "linear"
        Applied to the input: linear, relu or lrelu.
    alpha : float, optional
        Negative slope of lrelu, default 0.2. The other activations have no such parameter.

    Returns
    -------
    Tensor
        ``[N, C_out, H // 2, W // 2]`` for "same"; an odd last row or column is left out, as torch's pooling does.

    Raises
    ------
    TypeError, ValueError, NotImplementedError
        As :func:`upsample_conv2d`.

    Notes
    -----
    Differentiable to any order with respect to input, weight and bias, by the same forms; the second derivative of the
    activation is undefined in autograd's sense (no gradient). The identity serves a kernel_size of 2 with any kernel
    and padding that is zero in both dimensions or in none, and 1×1 kernels without padding, which are applied after the
    pooling. Other cases (another kernel_size, an even kernel with "same"), and on CPUs work too small to earn the calls
    back, are convolved and pooled one after the other. Under autocast it runs in autocast's dtype, as convolutions do.
    Half types round as in :func:`upsample_conv2d`.
    """
    name = "conv2d_avg_pool2d"
    check_convolution(name, input, weight, bias, groups)
    slope = slope_below(name, act, alpha)
    _factor(name, "kernel_size", kernel_size)
    sides = convolution_padding(name, padding, weight)
    backend = current_backend()
    check_size(name, input, weight, [k - 1 for k in weight.shape[2:]] if sides is None else sides, 1, kernel_size)
    if kernel_size != 2 or sides is None or (backend is None and prefers_stock(input, weight, 1)):
        # Ours, not torch's: a penalty on gradients then runs no pass over zeros.
        activated = input if act == "linear" else bias_act(input, act=act, alpha=alpha, gain=1.0)
        convolved = F.conv2d(activated, weight, bias, padding="same" if sides is None else sides, groups=groups)
        return F.avg_pool2d(convolved, kernel_size)
    return _conv2d_avg_pool2d(input, weight, bias, None, act, slope, sides, groups, convolution_algorithm(), backend)


def box_filter2d(
    input: Tensor,
    *,
    padding: int = 0,
    scale: float = 1.0,
    act: str = "linear",
    alpha: float | None = None,
) -> Tensor:
    r"""Apply an activation and sum over 2×2 neighbourhoods at stride 1, in one pass over memory.

    .. math:: y_{ij} = \text{scale} \cdot \sum_{a, b \in \{0, 1\}} \operatorname{act}(x_{i+a, j+b})

    With ``scale=0.25, padding=1``, a convolution of stride 2 without padding that follows is the convolution with
    padding 1 of the activation, average-pooled.

    Parameters
    ----------
    input : Tensor
        ``[N, C, H, W]``; float32, float64, float16 or bfloat16; default or channels_last memory format, which the
        output has too. Half types are computed in float32.
    padding : int, default 0
        0 or 1 rows and columns of zeros on each side.
    scale : float, default 1
    act : str, default "linear"
        linear, relu or lrelu.
    alpha : float, optional
        Negative slope of lrelu, default 0.2. The other activations have no such parameter.

    Returns
    -------
    Tensor
        ``[N, C, H - 1 + 2 * padding, W - 1 + 2 * padding]``.

    Raises
    ------
    TypeError
        For a dtype that is not floating point, or an argument that is no number.
    ValueError
        For an input that is not an image or is too small, an unknown act, alpha where act has none, another padding.
    NotImplementedError
        For forward-mode and ``torch.func`` derivatives.

    Notes
    -----
    Differentiable to any order. Only the input is saved, and that only for relu and lrelu, whose second derivative is
    undefined in autograd's sense (no gradient).
    """
    name = "box_filter2d"
    checks.check_floating(name, "input", input)
    checks.check_images(name, "input", input)
    slope = slope_below(name, act, alpha)
    checks.check_number(name, "scale", scale)
    if isinstance(padding, bool) or not isinstance(padding, int):
        raise TypeError(f"{name}: padding must be an integer, got {type(padding).__name__}")
    return _box_filter2d(input, None, act, slope, padding, scale, current_backend())


def upsample_add(input: Tensor, low: Tensor, *, return_statistics: bool = False) -> Tensor | tuple[Tensor, Tensor]:
    r"""Add a nearest-upsampled image of half the size, which is never written.

    Parameters
    ----------
    input : Tensor
        ``[N, C, 2H, 2W]``; float32, float64, float16 or bfloat16; default or channels_last memory format, which the
        output has too.
    low : Tensor
        ``[N, C, H, W]``, in input's dtype (under autocast it is cast to it).
    return_statistics : bool, default False
        As for :func:`upsample_conv2d`.

    Returns
    -------
    output : Tensor
        ``input + interpolate(low, scale_factor=2)``.
    statistics : Tensor
        ``[2, C]``, if `return_statistics`.

    Raises
    ------
    TypeError
        For a dtype that is not floating point, or differing ones.
    ValueError
        For shapes that do not match.
    NotImplementedError
        For forward-mode and ``torch.func`` derivatives.

    Notes
    -----
    Differentiable to any order. Nothing is saved.
    """
    checks.check_floating("upsample_add", "input", input)
    result = _upsample_add(input, low, return_statistics, current_backend())
    return result if return_statistics else result[0]
