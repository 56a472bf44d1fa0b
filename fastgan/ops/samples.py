"""What ops with a number for each sample share: its checks, and tensors whose samples lie one after the other."""

from __future__ import annotations

import torch
from torch import Tensor

from fastgan.ops import checks
from fastgan.ops.layout import accumulator, channel_extents, dense

__all__ = ["along", "check_number_tensor", "check_samples", "extents", "restored", "sample_major", "widened"]


def check_samples(name: str, argument: str, tensor: Tensor) -> None:
    """Raise unless `tensor` is [N, ...] of a floating dtype."""
    checks.check_floating(name, argument, tensor)
    if tensor.dim() == 0:
        raise ValueError(f"{name}: {argument} must be [N, ...], got a tensor without dimensions")


def check_number_tensor(name: str, argument: str, tensor: Tensor, shape: list[int], input: Tensor) -> None:
    """Raise unless `tensor` has the `shape`, the dtype that `input` is computed in, and its device."""
    expected = accumulator(input.dtype)
    if tensor.dtype != expected:
        raise TypeError(f"{name}: {argument} must be {expected} to match {input.dtype}, got {tensor.dtype}")
    if list(tensor.shape) != shape or tensor.device != input.device:
        raise ValueError(
            f"{name}: {argument} must be {shape} on {input.device}, got {list(tensor.shape)} on {tensor.device}"
        )


def widened(x: Tensor) -> Tensor:
    """`x` in the type that it is computed in."""
    return x.to(accumulator(x.dtype))


def along(values: Tensor, x: Tensor) -> Tensor:
    """The numbers [N] as a view that broadcasts with `x` [N, ...]."""
    return values.reshape(-1, *[1] * (x.dim() - 1))


def sample_major(x: Tensor) -> Tensor:
    """`x` itself where it is dense and its samples lie one after the other, in any order within; else a copy."""
    if x.is_contiguous():
        return x
    x = dense(x)
    return x if channel_extents(x, 0)[0] == 1 else x.contiguous()


def extents(x: Tensor) -> tuple[int, int]:
    """Samples of a tensor that has them one after the other, and elements of each."""
    samples = x.shape[0]
    return samples, x.numel() // samples if samples else 0


def restored(x: Tensor, like: Tensor) -> Tensor:
    """`x` in the memory layout that tensors made like `like` have; a copy only where it has another."""
    if x.stride() == like.stride() or x.stride() == torch.empty_like(like, device="meta").stride():
        return x
    return torch.empty_like(like).copy_(x)
