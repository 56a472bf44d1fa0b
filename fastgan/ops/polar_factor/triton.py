"""polar_factor in Triton, for NVIDIA and AMD: one launch where a matrix fits a block, three a step otherwise.

A step is G = X'X, P = a I + b G + c G² and X P. The first two are symmetric and cost half of a product each.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import torch
from torch import Tensor

from fastgan.ops.layout import accumulator
from fastgan.ops.polar_factor.quintics import quintics
from fastgan.ops.polar_factor.reference import normalized, rescaled
from fastgan.ops.polar_factor.triton_kernels import (
    polar_factor_product_kernel,
    polar_factor_resident_kernel,
    polar_factor_symmetric_kernel,
    polar_factor_traces_kernel,
)
from fastgan.ops.triton_support import unsupported_reason

__all__ = ["Products", "polar_factor", "unsupported_reason"]

#: The largest matrices that are iterated within a block, whose registers hold them. Of larger ones they spill.
RESIDENT = 32
#: From this size on there are tiles enough of the larger size for products to occupy a GPU; they read half as much.
#: Symmetric products have half of the tiles, and keep the smaller size, as do matrices whose rows are not aligned.
LARGE = 1024


def _precision(dtype: torch.dtype) -> str:
    """How ``tl.dot`` multiplies: AMD's matrix cores have float32, NVIDIA's make it of three products in TF32."""
    return "tf32x3" if dtype == torch.float32 and torch.version.hip is None else "ieee"


@functools.cache
def _quintics(steps: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """[steps, 3] on the device: copied there by the first call, so that later ones can be captured."""
    _, chosen = quintics(steps, dtype)
    return torch.tensor(chosen, dtype=dtype, device=device)


class Products(NamedTuple):
    """Launches the products of [batch, n, n] matrices of one type in tiles of `block`² elements."""

    block: int
    dtype: torch.dtype

    def _launch(self, kernel: object, triangle: bool, *tensors: Tensor | None) -> None:
        batch, n, _ = tensors[0].shape  # type: ignore[union-attr]
        tiles = -(-n // self.block)
        programs = tiles * (tiles + 1) // 2 if triangle else tiles**2
        kernel[programs, batch](  # type: ignore[index]
            *tensors, n, tiles, BLOCK=self.block, DEPTH=16 if self.dtype == torch.float64 else 32,
            PRECISION=_precision(self.dtype), num_warps=8,
        )  # fmt: skip

    def symmetric(self, x: Tensor, output: Tensor, quintic: Tensor | None = None) -> Tensor:
        """X'X, or a I + b X + c X'X for symmetric X."""
        self._launch(polar_factor_symmetric_kernel, True, x, output, quintic)
        return output

    def product(self, x: Tensor, y: Tensor, output: Tensor) -> Tensor:
        """X Y."""
        self._launch(polar_factor_product_kernel, False, x, y, output)
        return output

    def traces(self, polar: Tensor, gram: Tensor, matrix: Tensor) -> Tensor:
        """[batch, 2]: tr Q'M and tr (Q - Q Q'Q)'M."""
        batch, n, _ = polar.shape
        tiles = -(-n // self.block)
        partial = torch.empty(batch, tiles**2, 2, dtype=torch.float64, device=polar.device)
        self._launch(polar_factor_traces_kernel, False, polar, gram, matrix, partial)
        return partial.sum(1)


def _resident(matrix: Tensor, table: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    batch, n, _ = matrix.shape
    polar = torch.empty_like(matrix)
    nuclear_norm, residual = (torch.empty(batch, dtype=table.dtype, device=matrix.device) for _ in range(2))
    block = 16 if n <= 16 else 32
    polar_factor_resident_kernel[(batch,)](
        matrix, table, polar, nuclear_norm, residual, n, len(table), torch.finfo(torch.float32).tiny,
        BLOCK=block, PRECISION=_precision(table.dtype),
        num_warps=block // 8,
    )  # fmt: skip
    return polar, nuclear_norm, residual


def _tiled(matrix: Tensor, table: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    n = matrix.shape[-1]
    large = n >= LARGE and n % 16 == 0 and table.dtype == torch.float32
    half, whole = Products(64, table.dtype), Products(128 if large else 64, table.dtype)
    x = normalized(matrix)
    x, gram = rescaled(x, half.symmetric(x, torch.empty_like(x)))
    polynomial, other = torch.empty_like(x), torch.empty_like(x)
    for quintic in table:
        half.symmetric(gram, polynomial, quintic)
        x, other = whole.product(x, polynomial, other), x
        half.symmetric(x, gram)
    traces = whole.traces(x, gram, matrix).to(table.dtype)
    return x.to(matrix.dtype), traces[:, 0].contiguous(), traces[:, 1].abs()


def polar_factor(matrix: Tensor, steps: int) -> tuple[Tensor, Tensor, Tensor]:
    batch, n = matrix.shape[:-2], matrix.shape[-1]
    dtype = accumulator(matrix.dtype)
    if matrix.numel() == 0:
        return (
            matrix.new_empty(matrix.shape),
            matrix.new_zeros(batch, dtype=dtype),
            matrix.new_zeros(batch, dtype=dtype),
        )
    with torch.cuda.device_of(matrix):
        table = _quintics(steps, dtype, matrix.device)
        compute = _resident if n <= RESIDENT else _tiled
        polar, nuclear_norm, residual = compute(matrix.reshape(-1, n, n).contiguous(), table)
    return polar.reshape(matrix.shape), nuclear_norm.reshape(batch), residual.reshape(batch)
