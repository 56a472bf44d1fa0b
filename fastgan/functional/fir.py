"""Resampling of images with finite impulse response filters."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from fastgan.ops import checks
from fastgan.ops.registry import current_backend
from fastgan.ops.resampling import output_format
from fastgan.ops.upfirdn2d import upfirdn2d as _upfirdn2d
from fastgan.ops.upfirdn2d.arguments import accumulator, filter_size, output_size
from fastgan.ops.upsample_conv2d.forms import flipped

__all__ = ["downsample2d", "filter2d", "setup_filter", "upfirdn2d", "upsample2d"]

Pair = int | Sequence[int]


def _integers(function: str, argument: str, given: Pair) -> tuple[int, ...]:
    values = tuple(given) if isinstance(given, Sequence) else (given,)
    for value in values:
        if isinstance(value, bool) or not isinstance(value, (int, torch.SymInt)):
            raise TypeError(f"{function}: {argument} must be of integers, got {given}")
    return values


def _pair(function: str, argument: str, given: Pair) -> tuple[int, int]:
    """(x, y), both at least 1."""
    pair = _integers(function, argument, given)
    if len(pair) == 1:
        pair = (*pair, *pair)
    if len(pair) != 2:
        raise ValueError(f"{function}: {argument} must be a number or (x, y), got {given}")
    if min(pair) < 1:
        raise ValueError(f"{function}: {argument} must be at least 1, got {given}")
    return pair[0], pair[1]


def _padding(function: str, given: Pair) -> tuple[int, int, int, int]:
    """(x0, x1, y0, y1)."""
    values = _integers(function, "padding", given)
    if len(values) == 1:
        return values[0], values[0], values[0], values[0]
    if len(values) == 2:
        return values[0], values[0], values[1], values[1]
    if len(values) != 4:
        raise ValueError(f"{function}: padding must be a number, (x, y) or (x0, x1, y0, y1), got {given}")
    return values[0], values[1], values[2], values[3]


def _check(function: str, input: Tensor, filter: Tensor | None, gain: float) -> None:
    checks.check_floating(function, "input", input)
    if input.dim() != 4 or input.shape[2] < 1 or input.shape[3] < 1:
        raise ValueError(f"{function}: input must be [N, C, H, W] with at least one pixel, got {list(input.shape)}")
    checks.check_number(function, "gain", gain)
    check_filter(function, filter, input)


def check_filter(function: str, filter: Tensor | None, input: Tensor) -> None:
    """Raise unless `filter` is one for the input, or None."""
    if filter is None:
        return
    checks.check_floating(function, "filter", filter)
    if filter.dim() not in (1, 2) or filter.numel() == 0:
        raise ValueError(f"{function}: filter must be None, [taps] or [height, width], got {list(filter.shape)}")
    if filter.device != input.device:
        raise ValueError(f"{function}: filter must be on input's device {input.device}, got {filter.device}")
    if filter.requires_grad:
        raise ValueError(f"{function}: filter must not require a gradient, it has none; detach it")


def _resample(
    function: str,
    input: Tensor,
    filter: Tensor | None,
    up: tuple[int, int],
    down: tuple[int, int],
    padding: tuple[int, int, int, int],
    flip_filter: bool,
    gain: float,
) -> Tensor:
    taps = filter_size(filter)
    size = output_size(input.shape, taps, up, down, padding)
    if size[0] < 1 or size[1] < 1:
        raise ValueError(
            f"{function}: padding must leave an image of at least filter's {list(taps)} pixels of input "
            f"{list(input.shape)} upsampled by (x, y) = {up}, got (x0, x1, y0, y1) = {padding}"
        )
    if filter is not None:
        filter = filter.to(accumulator(input.dtype))
    return _upfirdn2d(
        input, filter, list(up), list(down), list(padding), list(size), flip_filter, gain, current_backend()
    )


def setup_filter(
    f: Tensor | Sequence[float] | Sequence[Sequence[float]] | float | None,
    device: torch.device | str | None = None,
    normalize: bool = True,
    flip_filter: bool = False,
    gain: float = 1.0,
) -> Tensor:
    """Make the filter that :func:`upfirdn2d` and the functions on it take, from its taps.

    Parameters
    ----------
    f : Tensor or nested sequence of float, or None
        ``[taps]`` of a separable filter, ``[height, width]`` of any other, a number for one tap, or None for the
        identity.
    device : torch.device, optional
        Of the result.
    normalize : bool, default True
        Divide by the sum of the taps, so that constant images stay as they are.
    flip_filter : bool, default False
        Reverse the taps.
    gain : float, default 1
        Of the filter as a whole: a separable one, used along both axes, is scaled by its square root.

    Returns
    -------
    Tensor
        float32, ``[taps]`` or ``[height, width]``. It stays separable where it was given so.

    Raises
    ------
    ValueError
        For taps of more dimensions than two, none at all, or a sum of zero that is to be normalised.
    """
    taps = torch.as_tensor(1.0 if f is None else f, dtype=torch.float32, device=device)
    if taps.dim() == 0:
        taps = taps[None]
    if taps.dim() > 2 or taps.numel() == 0:
        raise ValueError(f"setup_filter: f must be a number, [taps] or [height, width], got {list(taps.shape)}")
    if normalize:
        total = taps.sum()
        if total == 0:
            raise ValueError("setup_filter: f must not sum to 0 where normalize is True")
        taps = taps / total
    if flip_filter:
        taps = taps.flip(list(range(taps.dim())))
    return taps * gain ** (taps.dim() / 2)


def upfirdn2d(
    input: Tensor,
    filter: Tensor | None,
    up: Pair = 1,
    down: Pair = 1,
    padding: Pair = 0,
    gain: float = 1.0,
    *,
    flip_filter: bool = False,
) -> Tensor:
    """Upsample by inserting zeros, pad, filter, and downsample by dropping pixels, each channel by itself.

    In this order: every pixel is followed by ``up - 1`` zeros along each axis, also the last; the image is padded with
    zeros, or cropped where a padding is negative; convolved with the filter times gain, at the places where the
    filter lies within the image; and of the result every ``down``-th pixel is kept, beginning with the first.

    Parameters
    ----------
    input : Tensor
        ``[N, C, H, W]``; float32, float64, float16 or bfloat16; NCHW or channels_last, which the output keeps.
        Half types are computed in float32.
    filter : Tensor or None
        ``[height, width]``, or ``[taps]`` of a separable filter, which is used along both axes in two passes; None for
        the identity. A float32 tensor as :func:`setup_filter` makes it; another floating point type is converted to
        that of the computation. A constant: it has no derivative.
    up, down : int or (x, y), default 1
        The factors.
    padding : int, (x, y) or (x0, x1, y0, y1), default 0
        In pixels of the upsampled image.
    flip_filter : bool, default False
        False for a convolution, True for a correlation, which reads the filter in the other direction.
    gain : float, default 1
        Factor on the result.

    Returns
    -------
    Tensor
        ``[N, C, H', W']`` with ``H' = (H * up_y + y0 + y1 - filter height) // down_y + 1``, W' likewise; of input's
        dtype and memory layout.

    Raises
    ------
    TypeError
        For a dtype that is not floating point, or factors and paddings that are no integers.
    ValueError
        For shapes other than these, factors below 1, a filter that requires a gradient or is on another device, or an
        image that is smaller than the filter once padded.
    NotImplementedError
        For forward-mode and ``torch.func`` derivatives.

    Notes
    -----
    Linear in input and differentiable to any order: the transpose is an upfirdn2d with up and down exchanged.

    After the description in Karras et al., "Analyzing and Improving the Image Quality of StyleGAN" (2020) and "Training
    Generative Adversarial Networks with Limited Data" (2020), whose conventions it keeps.
    """
    _check("upfirdn2d", input, filter, gain)
    factors = (_pair("upfirdn2d", "up", up), _pair("upfirdn2d", "down", down))
    return _resample("upfirdn2d", input, filter, *factors, _padding("upfirdn2d", padding), flip_filter, gain)


def filter2d(
    input: Tensor, filter: Tensor | None, padding: Pair = 0, flip_filter: bool = False, gain: float = 1.0
) -> Tensor:
    """Filter an image, keeping its size.

    Pixels beyond the border are zeros; of an even filter the extra one is in front. `padding` is added to that.
    Parameters, derivatives and errors as for :func:`upfirdn2d`.

    Returns
    -------
    Tensor
        ``[N, C, H, W]`` where padding is 0.
    """
    _check("filter2d", input, filter, gain)
    height, width = filter_size(filter)
    x0, x1, y0, y1 = _padding("filter2d", padding)
    implied = (x0 + width // 2, x1 + (width - 1) // 2, y0 + height // 2, y1 + (height - 1) // 2)
    return _resample("filter2d", input, filter, (1, 1), (1, 1), implied, flip_filter, gain)


def upsample2d(
    input: Tensor,
    filter: Tensor | None,
    up: Pair = 2,
    padding: Pair = 0,
    gain: float = 1.0,
    *,
    flip_filter: bool = False,
) -> Tensor:
    """Upsample an image by whole factors with a filter.

    The result is multiplied by ``up_x * up_y``, so that a normalised filter keeps an image's brightness. `padding`, in
    pixels of the output, is added to what gives the output ``up`` times input's size, with pixels in place.
    Parameters, derivatives and errors as for :func:`upfirdn2d`.

    Returns
    -------
    Tensor
        ``[N, C, up_y * H, up_x * W]`` where padding is 0.
    """
    _check("upsample2d", input, filter, gain)
    up_x, up_y = _pair("upsample2d", "up", up)
    height, width = filter_size(filter)
    x0, x1, y0, y1 = _padding("upsample2d", padding)
    implied = (
        x0 + (width + up_x - 1) // 2,
        x1 + (width - up_x) // 2,
        y0 + (height + up_y - 1) // 2,
        y1 + (height - up_y) // 2,
    )
    return _resample("upsample2d", input, filter, (up_x, up_y), (1, 1), implied, flip_filter, gain * up_x * up_y)


def downsample2d(
    input: Tensor,
    filter: Tensor | None,
    down: Pair = 2,
    padding: Pair = 0,
    gain: float = 1.0,
    *,
    flip_filter: bool = False,
) -> Tensor:
    """Downsample an image by whole factors with a filter.

    `padding`, in pixels of input, is added to what gives the output input's size divided by ``down``, with pixels in
    place. Parameters, derivatives and errors as for :func:`upfirdn2d`.

    Returns
    -------
    Tensor
        ``[N, C, H // down_y, W // down_x]`` where padding is 0.
    """
    _check("downsample2d", input, filter, gain)
    down_x, down_y = _pair("downsample2d", "down", down)
    height, width = filter_size(filter)
    x0, x1, y0, y1 = _padding("downsample2d", padding)
    implied = (
        x0 + (width - down_x + 1) // 2,
        x1 + (width - down_x) // 2,
        y0 + (height - down_y + 1) // 2,
        y1 + (height - down_y) // 2,
    )
    return _resample("downsample2d", input, filter, (1, 1), (down_x, down_y), implied, flip_filter, gain)


def convolve_upsampled(
    x: Tensor, weight: Tensor, padding: tuple[int, int], up: int, filter: Tensor | None, groups: int = 1
) -> Tensor:
    """Upsample by `up` with `filter`, and convolve, with (y, x) padding: the convolution is done before the filter.

    The two commute; the convolution then sees only the pixels between which zeros would be inserted. At the borders the
    filtered image goes on beyond the one that :func:`upsample2d` gives, as StyleGAN2 defines such layers.
    """
    height, width = weight.shape[2:]
    taps = filter_size(filter)
    x = F.conv_transpose2d(x, flipped(weight, groups, output_format(x, weight)), stride=up, groups=groups)
    x0, x1 = padding[1] + (taps[1] + up - 1) // 2, padding[1] + (taps[1] - up) // 2
    y0, y1 = padding[0] + (taps[0] + up - 1) // 2, padding[0] + (taps[0] - up) // 2
    # It has already reached over the border, and there are no zeros after the last pixel.
    around = (x0 - width + 1, x1 - width + up, y0 - height + 1, y1 - height + up)
    return upfirdn2d(x, filter, padding=around, gain=up * up)
