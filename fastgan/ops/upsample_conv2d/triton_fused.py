"""The quarter form of upsample_conv2d in one Triton kernel: the sums before the box filter stay in registers.

With the output's rows and columns split by parity, the transposed convolution of stride 2 is four convolutions of the
input with parts of the kernel: 9 products for each cell (i, j). The box filter then adds the four values of a cell and
of its neighbours below and to the right. A program has TILE_ROWS × TILE_COLS cells, and writes those whose neighbours
it has too. Rows of cells run through all images: each image has one row and one column of cells more than pixels.
"""

# No `from __future__ import annotations` where kernels live: Triton reads their annotations. It also needs the
# `else` after a `return`, to know that what follows is not reached.
# mypy: disable-error-code=no-untyped-def
# ruff: noqa: RET505
from typing import NamedTuple

import torch
from torch import Tensor

from fastgan.ops.triton_moments import empty_partials, merge, store_partial
from fastgan.ops.triton_support import tl, triton

__all__ = ["Tile", "fused", "tile_of"]


@triton.jit
def _later(z, by, CELLS: tl.constexpr, BLOCK_OUT: tl.constexpr):
    """What the cells `by` further on have; the last ones' is of no use."""
    cell = tl.minimum(tl.arange(0, CELLS) + by, CELLS - 1)
    return tl.gather(z, tl.broadcast_to(cell[:, None], [CELLS, BLOCK_OUT]), 0)


@triton.jit
def _product(a, tap_ptr, mask, sums):
    b = tl.load(tap_ptr, mask=mask, other=0.0)
    return tl.dot(a, b, sums, input_precision="ieee")


@triton.jit
def _write(pointers, sums, bias, mask, count, partial_ptr):
    """Store the sums with the bias; mean and squared deviations of what is stored, of `count` cells, where wanted."""
    y = (sums + bias[None, :]).to(pointers.dtype.element_ty)
    tl.store(pointers, y, mask=mask)
    if partial_ptr is not None:
        y = y.to(tl.float32)
        count = tl.where(count > 0, count, 1.0)
        near = tl.sum(tl.where(mask, y, 0.0), 0) / count  # the mean, rounded
        away = tl.where(mask, y - near[None, :], 0.0)
        rest = tl.sum(away, 0)
        return near.to(tl.float64) + (rest / count).to(tl.float64), tl.sum(away * away, 0) - rest * (rest / count)
    else:
        return bias, bias


@triton.jit
def upsample_conv2d_kernel(
    input_ptr,  # [images, height, width, c_in]
    weight_ptr,  # [c_out, 3, 3, c_in]
    bias_ptr,  # [c_out], or None
    output_ptr,  # [images, 2 * height, 2 * width, c_out]
    partial_ptr,  # [3, partials, c_out] of float64, or None
    images,
    height,
    width,
    c_in,
    c_out,
    partials,
    TILE_ROWS: tl.constexpr,
    TILE_COLS: tl.constexpr,
    CELLS: tl.constexpr,
    BLOCK_OUT: tl.constexpr,
    BLOCK_IN: tl.constexpr,
):
    across = tl.cdiv(width, TILE_COLS - 1)
    cell = tl.arange(0, CELLS)
    row = tl.program_id(0) // across * (TILE_ROWS - 1) + cell // TILE_COLS
    n, i, j = row // (height + 1), row % (height + 1), tl.program_id(0) % across * (TILE_COLS - 1) + cell % TILE_COLS
    o = tl.program_id(1) * BLOCK_OUT + tl.arange(0, BLOCK_OUT)
    k = tl.arange(0, BLOCK_IN)
    known = n < images
    # The pixel of the cell, and those before it, above it and before that one.
    here, before = known & (i < height) & (j < width), known & (i < height) & (j >= 1) & (j <= width)
    above, diagonal = known & (i >= 1) & (j < width), known & (i >= 1) & (j >= 1) & (j <= width)
    # One tensor may have more than 2**31 elements.
    pixel = input_ptr + (((n.to(tl.int64) * height + i) * width + j) * c_in)[:, None] + k[None, :]
    tap = weight_ptr + (o * 9 * c_in)[None, :] + k[:, None]
    line = width * c_in
    ee = tl.zeros((CELLS, BLOCK_OUT), tl.float32)
    eo = tl.zeros((CELLS, BLOCK_OUT), tl.float32)
    oe = tl.zeros((CELLS, BLOCK_OUT), tl.float32)
    oo = tl.zeros((CELLS, BLOCK_OUT), tl.float32)
    for first in range(0, c_in, BLOCK_IN):
        inside = k < c_in - first
        wanted = inside[:, None] & (o < c_out)[None, :]
        a = tl.load(pixel, mask=here[:, None] & inside[None, :], other=0.0)
        ee = _product(a, tap + 8 * c_in, wanted, ee)
        eo = _product(a, tap + 7 * c_in, wanted, eo)
        oe = _product(a, tap + 5 * c_in, wanted, oe)
        oo = _product(a, tap + 4 * c_in, wanted, oo)
        a = tl.load(pixel - c_in, mask=before[:, None] & inside[None, :], other=0.0)
        ee = _product(a, tap + 6 * c_in, wanted, ee)
        oe = _product(a, tap + 3 * c_in, wanted, oe)
        a = tl.load(pixel - line, mask=above[:, None] & inside[None, :], other=0.0)
        ee = _product(a, tap + 2 * c_in, wanted, ee)
        eo = _product(a, tap + 1 * c_in, wanted, eo)
        a = tl.load(pixel - line - c_in, mask=diagonal[:, None] & inside[None, :], other=0.0)
        ee = _product(a, tap, wanted, ee)
        pixel += BLOCK_IN
        tap += BLOCK_IN
    own = here & (cell // TILE_COLS < TILE_ROWS - 1) & (cell % TILE_COLS < TILE_COLS - 1)
    mask = own[:, None] & (o < c_out)[None, :]
    at = output_ptr + (((n.to(tl.int64) * 2 * height + 2 * i) * 2 * width + 2 * j) * c_out)[:, None] + o[None, :]
    below = at + tl.cast(2 * width, tl.int64) * c_out
    bias = tl.zeros((BLOCK_OUT,), tl.float32)
    if bias_ptr is not None:
        bias = tl.load(bias_ptr + o, mask=o < c_out, other=0.0).to(tl.float32)
    count = tl.sum(own.to(tl.float32))
    # One output after the other, that few registers are alive at a time.
    upper, lower = eo + _later(ee, 1, CELLS, BLOCK_OUT), oo + _later(oe, 1, CELLS, BLOCK_OUT)
    mean01, m201 = _write(at + c_out, upper + lower, bias, mask, count, partial_ptr)
    mean11, m211 = _write(
        below + c_out, lower + _later(upper, TILE_COLS, CELLS, BLOCK_OUT), bias, mask, count, partial_ptr
    )
    upper, lower = ee + eo, oe + oo
    mean00, m200 = _write(at, upper + lower, bias, mask, count, partial_ptr)
    mean10, m210 = _write(below, lower + _later(upper, TILE_COLS, CELLS, BLOCK_OUT), bias, mask, count, partial_ptr)
    if partial_ptr is not None:
        mean = 0.25 * ((mean00 + mean01) + (mean10 + mean11))
        mean00, mean01, mean10, mean11 = mean00 - mean, mean01 - mean, mean10 - mean, mean11 - mean
        between = (mean00 * mean00 + mean01 * mean01) + (mean10 * mean10 + mean11 * mean11)
        m2 = ((m200 + m201) + (m210 + m211)).to(tl.float64) + between * count
        place = tl.program_id(0).to(tl.int64) * c_out + o
        store_partial(partial_ptr, place, partials, c_out, 4.0 * count, mean, m2, o < c_out)


class Tile(NamedTuple):
    """A program's block: cells, output channels, and input channels at a time."""

    rows: int
    cols: int
    cells: int
    c_out: int
    c_in: int
    warps: int
    stages: int


def tile_of(input: Tensor, c_out: int) -> Tile:
    """The block for such an input: by shape, dtype and vendor alone."""
    width, wide = input.shape[3], input.dtype == torch.float32
    # As many accumulators as registers hold without spilling, on every architecture.
    cells = 32 if wide else 64 if torch.version.hip else 128
    block_out = 32 if c_out % 16 == 0 and c_out > 16 else 16  # a channel is written alone where they are not aligned
    block_in = min(16 if wide else 32, max(16, triton.next_power_of_2(input.shape[1])))

    def written(cols: int) -> float:
        """The share of cells that are written."""
        rows = cells // cols
        return (rows - 1) * width / (triton.cdiv(width, cols - 1) * cells)

    cols = max((c for c in (2, 3, 5, 9, 17)), key=written)
    warps, stages = 8 if wide else cells // 16, 1 if torch.version.hip else 3
    return Tile(cells // cols, cols, cells, block_out, block_in, warps, stages)


def fused(input: Tensor, weight: Tensor, bias: Tensor | None, statistics: Tensor | None = None) -> Tensor:
    """The output for a 3×3 kernel with padding 1, in channels_last; writes `statistics` where given.

    float32, float16 and bfloat16, of which products are summed in float32 and without TF32.
    """
    n, c_in, height, width = input.shape
    c_out = weight.shape[0]
    input, weight = (x.contiguous(memory_format=torch.channels_last) for x in (input, weight))
    size = (n, c_out, 2 * height, 2 * width)
    output = torch.empty(size, dtype=input.dtype, device=input.device, memory_format=torch.channels_last)
    tile = tile_of(input, c_out)
    tiles = triton.cdiv(n * (height + 1), tile.rows - 1) * triton.cdiv(width, tile.cols - 1)
    partial = None if statistics is None else empty_partials(output, tiles)
    with torch.cuda.device_of(input):
        upsample_conv2d_kernel[(tiles, triton.cdiv(c_out, tile.c_out))](
            input, weight, None if bias is None else bias.contiguous(), output, partial,
            n, height, width, c_in, c_out, tiles,
            TILE_ROWS=tile.rows, TILE_COLS=tile.cols, CELLS=tile.cells, BLOCK_OUT=tile.c_out, BLOCK_IN=tile.c_in,
            num_warps=tile.warps, num_stages=tile.stages,
        )  # fmt: skip
        if partial is not None and statistics is not None:
            merge(partial, statistics)
    return output
