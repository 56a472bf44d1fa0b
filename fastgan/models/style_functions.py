"""The functions that StyleGAN2's networks are made of: fastgan's, and their counterparts on PyTorch's own."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from .blocks import pixel_norm

__all__ = ["StyleFunctions", "fast_style_functions", "stock_style_functions"]


class StyleFunctions(NamedTuple):
    """Functions with the signatures that they have in ``fastgan.functional``.

    The stock ones know what StyleGAN2 asks of them: activations "linear" and "lrelu", the norm "pixel", resampling by
    2, a symmetric separable filter of an even number of taps, and weights that are not flipped just where a convolution
    upsamples.
    """

    bias_act: Callable[..., Tensor]
    conv2d: Callable[..., Tensor]
    modulated_conv2d: Callable[..., Tensor]
    upfirdn2d: Callable[..., Tensor]
    upsample2d: Callable[..., Tensor]
    downsample2d: Callable[..., Tensor]
    minibatch_stddev: Callable[..., Tensor]
    norm_act: Callable[..., Tensor]


def fast_style_functions() -> StyleFunctions:
    """Those of ``fastgan.functional``."""
    from fastgan import functional

    return StyleFunctions(*(getattr(functional, name) for name in StyleFunctions._fields))


def stock_style_functions() -> StyleFunctions:
    """Those made of PyTorch's own."""
    return StyleFunctions(
        _bias_act, F.conv2d, _modulated_conv2d, _upfirdn2d, _upsample2d, _downsample2d, _minibatch_stddev, _norm_act
    )


def _bias_act(input: Tensor, bias: Tensor | None = None, *, act: str = "linear", gain: float | None = None) -> Tensor:
    x = input if bias is None else input + bias.view(-1, *[1] * (input.dim() - 2))
    if act == "lrelu":
        x = F.leaky_relu(x, 0.2)
        gain = math.sqrt(2) if gain is None else gain
    return x if gain is None or gain == 1 else x * gain


def _norm_act(input: Tensor, *, norm: str, eps: float) -> Tensor:
    assert norm == "pixel"
    return pixel_norm(input, eps)


def _of_each_channel(filter: Tensor, x: Tensor, gain: float = 1.0) -> Tensor:
    """The filter as weight of a convolution in as many groups as channels."""
    taps = filter.to(x.dtype)
    return (torch.outer(taps, taps) * gain).expand(x.shape[1], 1, -1, -1)


def _upfirdn2d(input: Tensor, filter: Tensor, *, padding: int, gain: float = 1.0) -> Tensor:
    return F.conv2d(input, _of_each_channel(filter, input, gain), padding=padding, groups=input.shape[1])


def _upsample2d(input: Tensor, filter: Tensor) -> Tensor:
    weight = _of_each_channel(filter, input, 4)
    return F.conv_transpose2d(input, weight, stride=2, padding=len(filter) // 2 - 1, groups=input.shape[1])


def _downsample2d(input: Tensor, filter: Tensor) -> Tensor:
    weight = _of_each_channel(filter, input)
    return F.conv2d(input, weight, stride=2, padding=len(filter) // 2 - 1, groups=input.shape[1])


def _modulated_conv2d(
    input: Tensor,
    weight: Tensor,
    styles: Tensor,
    *,
    demodulate: bool = True,
    padding: int = 0,
    up: int = 1,
    filter: Tensor | None = None,
    flip_weight: bool = True,
) -> Tensor:
    """Weights of each sample, and one convolution in as many groups."""
    n, channels = input.shape[:2]
    weights = weight * styles[:, None, :, None, None]
    if demodulate:
        weights = weights * torch.rsqrt(weights.square().sum((2, 3, 4), keepdim=True) + 1e-8)
    # Contiguous: torch 2.13 returns a wrong gradient, on CPUs, of a grouped convolution's 1×1 weights for one sample in
    # channels_last whose batch stride is not that of a dense tensor.
    x = input.contiguous().view(1, n * channels, *input.shape[2:])
    if filter is None:
        x = F.conv2d(x, weights.flatten(0, 1), padding=padding, groups=n)
    else:
        # The transposed convolution reads its weights flipped, and reaches over the border by itself.
        x = F.conv_transpose2d(x, weights.transpose(1, 2).flatten(0, 1), stride=up, groups=n)
        around = len(filter) // 2 - 1 + padding - weight.shape[2] // 2
        x = _upfirdn2d(x, filter, padding=around, gain=up * up)
    return x.reshape(n, -1, *x.shape[2:])


def _minibatch_stddev(input: Tensor, group_size: int = 4) -> Tensor:
    n, _, height, width = input.shape
    groups = input.unflatten(0, (min(group_size, n), -1))
    deviation = (groups.var(0, correction=0) + 1e-8).sqrt().mean((1, 2, 3))
    statistics = deviation.repeat(len(groups))[:, None, None, None].expand(-1, -1, height, width)
    return torch.cat([input, statistics], 1)
