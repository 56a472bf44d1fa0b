"""What ops on batches of matrices share: their checks, and the precision that they compute in."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from fastgan.ops.define import on_host

__all__ = ["check_finite", "check_like_matrices", "check_matrices", "check_square", "in_float64", "symmetrized"]


def check_matrices(name: str, argument: str, matrix: Tensor) -> None:
    """Raise unless `matrix` is a batch [B, m, n] of float32 or float64."""
    if matrix.dtype not in (torch.float32, torch.float64):
        raise TypeError(f"{name}: {argument} must be float32 or float64, got {matrix.dtype}")
    if matrix.dim() != 3:
        raise ValueError(f"{name}: {argument} must be [B, m, n], got {list(matrix.shape)}")


def check_square(name: str, argument: str, matrix: Tensor) -> None:
    """Raise unless `matrix` is a batch [B, n, n] of float32 or float64."""
    check_matrices(name, argument, matrix)
    if matrix.shape[1] != matrix.shape[2]:
        raise ValueError(f"{name}: {argument} must be [B, n, n], got {list(matrix.shape)}")


def check_finite(name: str, argument: str, tensor: Tensor) -> None:
    """ValueError for NaN or infinity in a CPU tensor; on other devices they show in the result."""
    # NumPy's view: reading a torch scalar is what must not happen on a GPU, and tests watch for it. One infinity or NaN
    # makes the sum one.
    if not on_host(tensor):
        return
    # A sum of finite numbers may overflow their own dtype, in which it is twice as fast.
    sums = (tensor.detach().sum(dtype=dtype).double() for dtype in (tensor.dtype, torch.float64))
    if not any(np.isfinite(each.numpy()) for each in sums):
        raise ValueError(f"{name}: {argument} must be finite, got NaN or infinity")


def check_like_matrices(name: str, argument: str, tensor: Tensor, shape: list[int], first: Tensor) -> None:
    """Raise unless `tensor` has the `shape`, and the dtype and device of `first`."""
    if tensor.dtype != first.dtype:
        raise TypeError(f"{name}: {argument} must be {first.dtype}, got {tensor.dtype}")
    if list(tensor.shape) != shape or tensor.device != first.device:
        raise ValueError(
            f"{name}: {argument} must be {shape} on {first.device}, got {list(tensor.shape)} on {tensor.device}"
        )


class _Cast(torch.autograd.Function):
    """Tensor.to(dtype), whose own derivative names the device as well, as if it had to go there."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, dtype: torch.dtype) -> Tensor:
        ctx.dtype = x.dtype
        return x.to(dtype)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        return _Cast.apply(grad, ctx.dtype), None


def in_float64(x: Tensor) -> Tensor:
    """`x` itself, or a copy that is differentiable to any order."""
    return x if x.dtype == torch.float64 else _Cast.apply(x, torch.float64)


def symmetrized(matrix: Tensor) -> Tensor:
    """The symmetric part of a batch of square matrices."""
    return (matrix + matrix.mT) / 2
