"""The quarter form of upsample_conv2d in one Triton kernel: the sums before the box filter stay in registers.

With the output's rows and columns split by parity, the transposed convolution of stride 2 is four convolutions of the
input with parts of the kernel: 9 products for each cell (i, j). The box filter then adds the four values of a cell and
of its neighbours below and to the right. A program has TILE_ROWS × TILE_COLS cells, and writes those whose neighbours
it has too. Rows of cells run through all images: each image has one row and one column of cells more than pixels.
"""

# No `from __future__ import annotations` where kernels live: Triton reads their annotations.
# mypy: disable-error-code=no-untyped-def
from typing import NamedTuple

import torch
from torch import Tensor

from fastgan.ops.triton_moments import empty_partials, merge
from fastgan.ops.triton_support import tl, triton
from fastgan.ops.upsample_conv2d.triton_parts import (
    NOTHING,
    Prologue,
    activated,
    affine,
    block_for,
    product,
    store_four,
    write,
)

__all__ = ["Tile", "fused", "tile_of"]


@triton.jit
def _later(z, by, CELLS: tl.constexpr, BLOCK_OUT: tl.constexpr):
    """What the cells `by` further on have; the last ones' is of no use."""
    cell = tl.minimum(tl.arange(0, CELLS) + by, CELLS - 1)
    return tl.gather(z, tl.broadcast_to(cell[:, None], [CELLS, BLOCK_OUT]), 0)


@triton.jit
def upsample_conv2d_kernel(
    input_ptr,  # [images, height, width, c_in]
    weight_ptr,  # [c_out, 3, 3, c_in]
    bias_ptr,  # [c_out], or None
    residual_ptr,  # like output, or None
    output_ptr,  # [images, 2 * height, 2 * width, c_out]
    partial_ptr,  # [3, partials, c_out] of float64, or None
    mean_ptr,  # of the input, as are the next three: [c_in], or None
    variance_ptr,
    norm_weight_ptr,  # [c_in] or [images, c_in], or None
    norm_bias_ptr,
    eps: tl.float64,
    alpha: tl.float64,
    gain: tl.float64,
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
    ACT: tl.constexpr,
    WEIGHT_BY: tl.constexpr,
    BIAS_BY: tl.constexpr,
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
        mean, scale, shift = affine(
            mean_ptr, variance_ptr, norm_weight_ptr, norm_bias_ptr, n, first + k, c_in, known, inside, eps,
            ACT, WEIGHT_BY, BIAS_BY,
        )  # fmt: skip
        a = activated(pixel, here[:, None] & inside[None, :], mean, scale, shift, alpha, gain, ACT)
        ee = product(a, tap + 8 * c_in, wanted, ee)
        eo = product(a, tap + 7 * c_in, wanted, eo)
        oe = product(a, tap + 5 * c_in, wanted, oe)
        oo = product(a, tap + 4 * c_in, wanted, oo)
        a = activated(pixel - c_in, before[:, None] & inside[None, :], mean, scale, shift, alpha, gain, ACT)
        ee = product(a, tap + 6 * c_in, wanted, ee)
        oe = product(a, tap + 3 * c_in, wanted, oe)
        a = activated(pixel - line, above[:, None] & inside[None, :], mean, scale, shift, alpha, gain, ACT)
        ee = product(a, tap + 2 * c_in, wanted, ee)
        eo = product(a, tap + 1 * c_in, wanted, eo)
        a = activated(pixel - line - c_in, diagonal[:, None] & inside[None, :], mean, scale, shift, alpha, gain, ACT)
        ee = product(a, tap, wanted, ee)
        pixel += BLOCK_IN
        tap += BLOCK_IN
    own = here & (cell // TILE_COLS < TILE_ROWS - 1) & (cell % TILE_COLS < TILE_COLS - 1)
    mask = own[:, None] & (o < c_out)[None, :]
    place = (((n.to(tl.int64) * 2 * height + 2 * i) * 2 * width + 2 * j) * c_out)[:, None] + o[None, :]
    at = output_ptr + place
    line = tl.cast(2 * width, tl.int64) * c_out
    below = at + line
    bias = tl.zeros((BLOCK_OUT,), tl.float32)
    if bias_ptr is not None:
        bias = tl.load(bias_ptr + o, mask=o < c_out, other=0.0).to(tl.float32)
    count = tl.sum(own.to(tl.float32))
    # One output after the other, that few registers are alive at a time.
    upper, lower = eo + _later(ee, 1, CELLS, BLOCK_OUT), oo + _later(oe, 1, CELLS, BLOCK_OUT)
    mean01, m201 = write(at + c_out, residual_ptr, place + c_out, upper + lower, bias, mask, count, partial_ptr)
    sums = lower + _later(upper, TILE_COLS, CELLS, BLOCK_OUT)
    mean11, m211 = write(below + c_out, residual_ptr, place + line + c_out, sums, bias, mask, count, partial_ptr)
    upper, lower = ee + eo, oe + oo
    mean00, m200 = write(at, residual_ptr, place, upper + lower, bias, mask, count, partial_ptr)
    sums = lower + _later(upper, TILE_COLS, CELLS, BLOCK_OUT)
    mean10, m210 = write(below, residual_ptr, place + line, sums, bias, mask, count, partial_ptr)
    if partial_ptr is not None:
        place = tl.program_id(0).to(tl.int64) * c_out + o
        store_four(
            partial_ptr, mean00, m200, mean01, m201, mean10, m210, mean11, m211, count, place, partials, c_out,
            o < c_out,
        )  # fmt: skip


class Tile(NamedTuple):
    """A program's block: cells, output channels, and input channels at a time."""

    rows: int
    cols: int
    cells: int
    c_out: int
    c_in: int
    warps: int
    stages: int


def tile_of(input: Tensor, c_out: int, prologue: Prologue = NOTHING) -> Tile:
    """The block for such an input: by shape, dtype and vendor alone."""
    width = input.shape[3]
    cells, *rest = block_for(input, c_out, 32 if prologue.act is None else 16)  # what it normalises is in registers too

    def written(cols: int) -> float:
        """The share of cells that are written."""
        rows = cells // cols
        return (rows - 1) * width / (triton.cdiv(width, cols - 1) * cells)

    cols = max((c for c in (2, 3, 5, 9, 17)), key=written)
    return Tile(cells // cols, cols, cells, *rest)


def fused(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    residual: Tensor | None = None,
    statistics: Tensor | None = None,
    prologue: Prologue = NOTHING,
) -> Tensor:
    """The output for a 3×3 kernel with padding 1, in channels_last; writes `statistics` where given.

    float32, float16 and bfloat16, of which products are summed in float32 and without TF32.
    """
    n, c_in, height, width = input.shape
    c_out = weight.shape[0]
    input, weight = (x.contiguous(memory_format=torch.channels_last) for x in (input, weight))
    size = (n, c_out, 2 * height, 2 * width)
    output = torch.empty(size, dtype=input.dtype, device=input.device, memory_format=torch.channels_last)
    residual = None if residual is None else residual.contiguous(memory_format=torch.channels_last)
    tile = tile_of(input, c_out, prologue)
    tiles = triton.cdiv(n * (height + 1), tile.rows - 1) * triton.cdiv(width, tile.cols - 1)
    partial = None if statistics is None else empty_partials(output, tiles)
    if input.dtype == torch.float32 and residual is not None and partial is not None:
        tile = tile._replace(
            stages=1
        )  # addresses of more stages and of the residual do not fit into sm_100's registers
    with torch.cuda.device_of(input):
        upsample_conv2d_kernel[(tiles, triton.cdiv(c_out, tile.c_out))](
            input, weight, None if bias is None else bias.contiguous(), residual, output, partial,
            *prologue.arguments(), n, height, width, c_in, c_out, tiles,
            TILE_ROWS=tile.rows, TILE_COLS=tile.cols, CELLS=tile.cells, BLOCK_OUT=tile.c_out, BLOCK_IN=tile.c_in,
            **prologue.constants(), num_warps=tile.warps, num_stages=tile.stages,
        )  # fmt: skip
        if partial is not None and statistics is not None:
            merge(partial, statistics)
    return output
