"""Statistics over a minibatch that a discriminator may see."""

from __future__ import annotations

import torch
from torch import Tensor

from fastgan.ops import checks
from fastgan.ops.upfirdn2d.arguments import is_channels_last

__all__ = ["minibatch_stddev"]

#: Inside the root, so that its derivatives are finite where all samples agree.
_EPS = 1e-8


def minibatch_stddev(input: Tensor, group_size: int | None = 4, num_channels: int = 1) -> Tensor:
    r"""Append channels that say how much the samples of a group differ.

    The samples are put into groups, and the channels into `num_channels` parts. For each group and part, the standard
    deviation over the group's samples, of every feature at every pixel, is averaged to one number, which becomes a
    constant channel of all the group's samples.

    Parameters
    ----------
    input : Tensor
        ``[N, C, H, W]``; float32, float64, float16 or bfloat16 (statistics in float32); NCHW or channels_last, which
        the output keeps.
    group_size : int, optional
        Samples in a group, at most N; None for one group of all. Sample n is in group ``n % (N / group_size)``.
        Default 4.
    num_channels : int, default 1
        Channels to append.

    Returns
    -------
    Tensor
        ``[N, C + num_channels, H, W]``: input's channels, then the statistics.

    Raises
    ------
    TypeError
        For a dtype that is not floating point, or sizes that are no integers.
    ValueError
        For input of other than four dimensions, N that is no multiple of the group's size, C that is none of
        num_channels, or sizes below 1.

    Notes
    -----
    Differentiable twice. The deviation is that of the group itself (divided by its size, not by one less), with 1e-8
    added to the variance. It mixes samples: gradient penalties of one sample then depend on the others.

    Karras et al., "Progressive Growing of GANs" (2018), section 3; groups and parts as in "Analyzing and Improving the
    Image Quality of StyleGAN" (2020).
    """
    checks.check_floating("minibatch_stddev", "input", input)
    if input.dim() != 4:
        raise ValueError(f"minibatch_stddev: input must be [N, C, H, W], got {list(input.shape)}")
    for argument, given in (("group_size", group_size), ("num_channels", num_channels)):
        if argument == "group_size" and given is None:
            continue
        if isinstance(given, bool) or not isinstance(given, (int, torch.SymInt)):
            raise TypeError(f"minibatch_stddev: {argument} must be an integer, got {type(given).__name__}")
        if given < 1:
            raise ValueError(f"minibatch_stddev: {argument} must be at least 1, got {given}")
    batch, channels, height, width = input.shape
    size = max(batch if group_size is None else min(group_size, batch), 1)
    if batch % size:
        raise ValueError(
            f"minibatch_stddev: group_size must divide the batch of input {list(input.shape)}, got {group_size}"
        )
    if channels % num_channels:
        raise ValueError(
            f"minibatch_stddev: num_channels must divide the channels of input {list(input.shape)}, got {num_channels}"
        )
    groups = batch // size
    x = input.float() if input.dtype in (torch.float16, torch.bfloat16) else input
    x = x.reshape(size, groups, num_channels, channels // num_channels, height, width)  # a view in any layout
    variance = x.var(0, correction=0) if batch else x.sum(0)  # of no samples torch warns, though nothing is divided
    deviation = (variance + _EPS).sqrt().mean((2, 3, 4)).to(input.dtype)
    statistics = deviation.repeat(size, 1)[:, :, None, None].expand(-1, -1, height, width)
    if is_channels_last(input):
        statistics = statistics.contiguous(memory_format=torch.channels_last)
    return torch.cat([input, statistics], 1)
