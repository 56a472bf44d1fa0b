"""The phase form of upsample_conv2d in one Triton kernel: 16 products per pixel, and nothing between cells.

Each of the four pixels that an upsampled pixel becomes sees 2×2 pixels of the input, with those taps of the kernel
added up beforehand that meet the same pixel. The quarter form needs 9 products, but a box filter after them, for which
its blocks overlap. Here they do not.
"""

# No `from __future__ import annotations` where kernels live: Triton reads their annotations.
# mypy: disable-error-code=no-untyped-def
import torch
from torch import Tensor

from fastgan.ops.layout import accumulator
from fastgan.ops.triton_moments import empty_partials, merge
from fastgan.ops.triton_support import tl, triton
from fastgan.ops.upsample_conv2d.triton_parts import (
    NOTHING,
    Block,
    Prologue,
    activated,
    affine,
    block_for,
    product,
    store_four,
    write,
)

__all__ = ["added_taps", "phase"]


@triton.jit
def upsample_conv2d_phase_kernel(
    input_ptr,  # [images, height, width, c_in]
    taps_ptr,  # [c_out, 4, 4, c_in], as added_taps has them
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
    CELLS: tl.constexpr,
    BLOCK_OUT: tl.constexpr,
    BLOCK_IN: tl.constexpr,
    ACT: tl.constexpr,
    WEIGHT_BY: tl.constexpr,
    BIAS_BY: tl.constexpr,
):
    cell = tl.program_id(0).to(tl.int64) * CELLS + tl.arange(0, CELLS)
    row, j = cell // width, (cell % width).to(tl.int32)
    n, i = (row // height).to(tl.int32), (row % height).to(tl.int32)
    o = tl.program_id(1) * BLOCK_OUT + tl.arange(0, BLOCK_OUT)
    k = tl.arange(0, BLOCK_IN)
    known = n < images
    above, below = known & (i >= 1), known & (i + 1 < height)
    before, after = j >= 1, j + 1 < width
    pixel = input_ptr + (cell * c_in)[:, None] + k[None, :]
    tap = taps_ptr + (o * 16 * c_in)[None, :] + k[:, None]
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
        mask = inside[None, :]
        a = activated(pixel - line - c_in, (above & before)[:, None] & mask, mean, scale, shift, alpha, gain, ACT)
        ee = product(a, tap, wanted, ee)
        a = activated(pixel - line, above[:, None] & mask, mean, scale, shift, alpha, gain, ACT)
        ee = product(a, tap + 1 * c_in, wanted, ee)
        eo = product(a, tap + 2 * c_in, wanted, eo)
        a = activated(pixel - line + c_in, (above & after)[:, None] & mask, mean, scale, shift, alpha, gain, ACT)
        eo = product(a, tap + 3 * c_in, wanted, eo)
        a = activated(pixel - c_in, (known & before)[:, None] & mask, mean, scale, shift, alpha, gain, ACT)
        ee = product(a, tap + 4 * c_in, wanted, ee)
        oe = product(a, tap + 8 * c_in, wanted, oe)
        a = activated(pixel, known[:, None] & mask, mean, scale, shift, alpha, gain, ACT)
        ee = product(a, tap + 5 * c_in, wanted, ee)
        eo = product(a, tap + 6 * c_in, wanted, eo)
        oe = product(a, tap + 9 * c_in, wanted, oe)
        oo = product(a, tap + 10 * c_in, wanted, oo)
        a = activated(pixel + c_in, (known & after)[:, None] & mask, mean, scale, shift, alpha, gain, ACT)
        eo = product(a, tap + 7 * c_in, wanted, eo)
        oo = product(a, tap + 11 * c_in, wanted, oo)
        a = activated(pixel + line - c_in, (below & before)[:, None] & mask, mean, scale, shift, alpha, gain, ACT)
        oe = product(a, tap + 12 * c_in, wanted, oe)
        a = activated(pixel + line, below[:, None] & mask, mean, scale, shift, alpha, gain, ACT)
        oe = product(a, tap + 13 * c_in, wanted, oe)
        oo = product(a, tap + 14 * c_in, wanted, oo)
        a = activated(pixel + line + c_in, (below & after)[:, None] & mask, mean, scale, shift, alpha, gain, ACT)
        oo = product(a, tap + 15 * c_in, wanted, oo)
        pixel += BLOCK_IN
        tap += BLOCK_IN
    mask = known[:, None] & (o < c_out)[None, :]
    place = (((n.to(tl.int64) * 2 * height + 2 * i) * 2 * width + 2 * j) * c_out)[:, None] + o[None, :]
    at = output_ptr + place
    under = tl.cast(2 * width, tl.int64) * c_out
    lower = at + under
    bias = tl.zeros((BLOCK_OUT,), tl.float32)
    if bias_ptr is not None:
        bias = tl.load(bias_ptr + o, mask=o < c_out, other=0.0).to(tl.float32)
    count = tl.sum(known.to(tl.float32))
    mean00, m200 = write(at, residual_ptr, place, ee, bias, mask, count, partial_ptr)
    mean01, m201 = write(at + c_out, residual_ptr, place + c_out, eo, bias, mask, count, partial_ptr)
    mean10, m210 = write(lower, residual_ptr, place + under, oe, bias, mask, count, partial_ptr)
    mean11, m211 = write(lower + c_out, residual_ptr, place + under + c_out, oo, bias, mask, count, partial_ptr)
    if partial_ptr is not None:
        place = tl.program_id(0).to(tl.int64) * c_out + o
        store_four(
            partial_ptr, mean00, m200, mean01, m201, mean10, m210, mean11, m211, count, place, partials, c_out,
            o < c_out,
        )  # fmt: skip


def added_taps(weight: Tensor) -> Tensor:
    """``[C_out, C_in, 4, 4]``: the 2×2 taps of each of 2×2 phases, in the order of the pixels that they meet."""
    taps = weight.to(accumulator(weight.dtype))
    for dim in (2, 3):
        first, middle, last = taps.unbind(dim)
        taps = torch.stack([first, middle + last, first + middle, last], dim)
    return taps.to(weight.dtype)


def _block(input: Tensor) -> Block:
    """Smaller than the fused kernel's: nine blocks of the input and sixteen of taps are on their way."""
    block = block_for(input, 16, 16)
    if input.dtype == torch.float32:  # a pipeline of these blocks does not fit the registers
        return block._replace(stages=1)
    return block._replace(cells=64, warps=4, stages=min(block.stages, 2))


def phase(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    residual: Tensor | None = None,
    statistics: Tensor | None = None,
    prologue: Prologue = NOTHING,
) -> Tensor:
    """As :func:`fastgan.ops.upsample_conv2d.triton_fused.fused`; taps are added up in float32, and rounded."""
    n, c_in, height, width = input.shape
    c_out = weight.shape[0]
    input, taps = (x.contiguous(memory_format=torch.channels_last) for x in (input, added_taps(weight)))
    size = (n, c_out, 2 * height, 2 * width)
    output = torch.empty(size, dtype=input.dtype, device=input.device, memory_format=torch.channels_last)
    residual = None if residual is None else residual.contiguous(memory_format=torch.channels_last)
    block = _block(input)
    blocks = triton.cdiv(n * height * width, block.cells)
    partial = None if statistics is None else empty_partials(output, blocks)
    with torch.cuda.device_of(input):
        upsample_conv2d_phase_kernel[(blocks, triton.cdiv(c_out, block.c_out))](
            input, taps, None if bias is None else bias.contiguous(), residual, output, partial,
            *prologue.arguments(), n, height, width, c_in, c_out, blocks,
            CELLS=block.cells, BLOCK_OUT=block.c_out, BLOCK_IN=block.c_in,
            **prologue.constants(), num_warps=block.warps, num_stages=block.stages,
        )  # fmt: skip
        if partial is not None and statistics is not None:
            merge(partial, statistics)
    return output
