"""Layout and precision shared by the launchers: dense tensors of any stride order, read where they lie."""

from __future__ import annotations

import math

import torch

__all__ = ["accumulator", "channel_extents", "dense", "image_format", "image_planes", "is_image", "match_layout"]


def accumulator(dtype: torch.dtype) -> torch.dtype:
    """What tensors of `dtype` are computed and summed in: the type of their statistics, and of sigma."""
    return torch.float64 if dtype == torch.float64 else torch.float32


def dense(x: torch.Tensor) -> torch.Tensor:
    """`x` itself where it fills its memory without gaps or overlaps, in any stride order; else a copy that does."""
    if x.is_contiguous() or torch.ops.aten.is_non_overlapping_and_dense(x):
        return x
    return x.clone()  # preserve_format: the strides empty_like(x) has


def match_layout(x: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    """`x` with the strides of the dense tensor `like` of the same shape; a copy only where they differ."""
    if x.stride() == like.stride():
        return x
    return torch.empty_like(like, dtype=x.dtype).copy_(x)


def channel_extents(x: torch.Tensor, dim: int) -> tuple[int, int, int]:
    """(outer, channels, inner) of a dense tensor in memory order: element i has channel (i // inner) % channels."""
    if x.dim() == 0:
        return 1, 1, 1
    channels = x.shape[dim]
    if channels <= 1 or x.numel() == 0:
        return 1, channels, math.prod(x.shape[:dim]) * math.prod(x.shape[dim + 1 :])
    inner = x.stride(dim)
    return x.numel() // (channels * inner), channels, inner


def image_format(x: torch.Tensor) -> torch.memory_format:
    """The memory format of the images that an op makes of `x` [N, C, H, W]: x's own, where it has one."""
    channels_last = x.is_contiguous(memory_format=torch.channels_last) and x.stride(1) == 1
    # Both formats fit where there is one pixel, or one channel: then the default one, unless the strides say otherwise.
    if channels_last and (not x.is_contiguous() or x.stride(3) == x.shape[1] > 1):
        return torch.channels_last
    return torch.contiguous_format


def is_image(x: torch.Tensor) -> bool:
    """Whether `x` is [N, C, H, W] in one of the two memory formats."""
    return x.dim() == 4 and (x.is_contiguous() or x.is_contiguous(memory_format=torch.channels_last))


def image_planes(x: torch.Tensor) -> tuple[int, int]:
    """(planes, inner) of `x` in its :func:`image_format`: planes of height × width pixels of `inner` elements each."""
    n, c = x.shape[:2]
    return (n, c) if image_format(x) == torch.channels_last else (n * c, 1)
