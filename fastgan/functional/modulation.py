"""Convolutions whose weights each sample scales for itself."""

from __future__ import annotations

import contextlib
import math

import torch
import torch.nn.functional as F
from torch import Tensor

from fastgan.functional.fir import convolve_upsampled
from fastgan.functional.normalization import affine_act
from fastgan.ops import checks

__all__ = ["modulated_conv2d"]


def _check(input: Tensor, weight: Tensor, styles: Tensor, padding: int, up: int, eps: float) -> None:
    for argument, tensor in (("input", input), ("weight", weight), ("styles", styles)):
        checks.check_floating("modulated_conv2d", argument, tensor)
        if tensor.device != input.device:
            expected = f"on input's device {input.device}"
            raise ValueError(f"modulated_conv2d: {argument} must be {expected}, got {tensor.device}")
    if input.dim() != 4:
        raise ValueError(f"modulated_conv2d: input must be [N, C, H, W], got {list(input.shape)}")
    batch, channels = input.shape[:2]
    if weight.dim() != 4 or weight.shape[1] != channels:
        raise ValueError(
            f"modulated_conv2d: weight must be [C_out, {channels}, kH, kW] to match input {list(input.shape)}, "
            f"got {list(weight.shape)}"
        )
    if styles.shape != (batch, channels):
        raise ValueError(
            f"modulated_conv2d: styles must be [{batch}, {channels}] to match input {list(input.shape)}, "
            f"got {list(styles.shape)}"
        )
    for argument, given, least in (("padding", padding, 0), ("up", up, 1)):
        if isinstance(given, bool) or not isinstance(given, int):
            raise TypeError(f"modulated_conv2d: {argument} must be an integer, got {type(given).__name__}")
        if given < least:
            raise ValueError(f"modulated_conv2d: {argument} must be at least {least}, got {given}")
    checks.check_number("modulated_conv2d", "eps", eps)


def _to_unit(x: Tensor, dims: tuple[int, ...]) -> Tensor:
    """`x` over its largest magnitude along `dims`, taken as a constant: demodulation cancels it, and its derivative."""
    largest = x.detach().abs().amax(dims, keepdim=True)
    return x / largest.clamp_min(torch.finfo(x.dtype).tiny)


def _demodulation(weight: Tensor, styles: Tensor, eps: float) -> Tensor:
    """[N, C_out]: one over the norm of each sample's weights, from one product with the sums of their squares."""
    device = weight.device.type
    # Autocast would square in full precision and multiply in half.
    autocast = torch.is_autocast_enabled(device)
    with torch.autocast(device, enabled=False) if autocast else contextlib.nullcontext():
        return torch.rsqrt(styles.square() @ weight.square().sum((2, 3)).t() + eps)


def modulated_conv2d(
    input: Tensor,
    weight: Tensor,
    styles: Tensor,
    *,
    demodulate: bool = True,
    padding: int = 0,
    up: int = 1,
    filter: Tensor | None = None,
    flip_weight: bool = True,
    eps: float = 1e-8,
) -> Tensor:
    r"""Convolve each sample with weights scaled by its styles, and normalised again.

    .. math::
        w'_{noihw} = s_{ni} w_{oihw}, \qquad
        w''_{noihw} = w'_{noihw} \Big/ \sqrt{\textstyle\sum_{ihw} {w'}_{noihw}^2 + \epsilon}

    No sample's weights are written out: scaling the input's channels by the styles, convolving all samples with the
    one weight, and scaling the output's channels by the coefficients :math:`1 / \sqrt{\cdot}` is the same.

    Parameters
    ----------
    input : Tensor
        ``[N, C_in, H, W]``; float32, float64, float16 or bfloat16; NCHW or channels_last.
    weight : Tensor
        ``[C_out, C_in, kH, kW]``; any of these dtypes, converted to input's once scaled.
    styles : Tensor
        ``[N, C_in]``; any of these dtypes.
    demodulate : bool, default True
        Whether to normalise; False gives :math:`w'`.
    padding : int, default 0
        Zeros around the image, with `up` around the upsampled one.
    up : int, default 1
        Upsample by this factor before the convolution, with `filter`, as
        :func:`~fastgan.functional.upsample2d` does; computed as one transposed convolution and a filter after it.
    filter : Tensor, optional
        Of the upsampling; None repeats no pixel, it inserts zeros. Not used where `up` is 1.
    flip_weight : bool, default True
        True for a correlation, as ``torch.nn.functional.conv2d`` computes; False for a convolution, which the
        published networks have in their layers that upsample.
    eps : float, default 1e-8
        Added to the sum of squares.

    Returns
    -------
    Tensor
        ``[N, C_out, H', W']`` of input's dtype, H' and W' as of a convolution of stride 1.

    Raises
    ------
    TypeError
        For a dtype that is not floating point, or padding and up that are no integers.
    ValueError
        For shapes or devices that do not match, or padding and up below their least.

    Notes
    -----
    Differentiable twice with respect to input, weight and styles. Coefficients are computed in float32 for half types.
    With these and demodulation, the weight and the styles are first scaled by their largest magnitudes (as published),
    so that sums stay in float16's range; demodulation cancels the scaling, except that eps is then relative to it.

    Karras et al., "Analyzing and Improving the Image Quality of StyleGAN" (2020), section 2.2, equations 1 to 3.
    """
    _check(input, weight, styles, padding, up, eps)
    dtype = input.dtype
    half = dtype in (torch.float16, torch.bfloat16)
    weight, styles = (x.float() if half else x.to(dtype) for x in (weight, styles))
    if half and demodulate:
        weight = _to_unit(weight, (1, 2, 3)) / math.sqrt(max(1, weight[0].numel() if len(weight) else 1))
        styles = _to_unit(styles, (1,))
    coefficients = _demodulation(weight, styles, eps) if demodulate else None
    output = _convolve(affine_act(input, styles), weight.to(dtype), padding, up, filter, flip_weight)
    return output if coefficients is None else affine_act(output, coefficients)


def _convolve(x: Tensor, weight: Tensor, padding: int, up: int, filter: Tensor | None, flip_weight: bool) -> Tensor:
    """Upsample by `up` with `filter`, and convolve."""
    if up == 1:
        return F.conv2d(x, weight if flip_weight else weight.flip((2, 3)), padding=padding)
    return convolve_upsampled(x, weight if flip_weight else weight.flip((2, 3)), (padding, padding), up, filter)
