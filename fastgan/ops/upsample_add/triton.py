"""upsample_add in Triton, for NVIDIA and AMD. A program walks down the rows of the low-resolution image."""

# No `from __future__ import annotations` where kernels live: Triton reads their annotations.
# mypy: disable-error-code=no-untyped-def
# ruff: noqa: SIM300
import torch
from torch import Tensor

from fastgan.ops import resampling
from fastgan.ops.layout import image_format
from fastgan.ops.triton_images import block_of, plan
from fastgan.ops.triton_moments import add_row, empty_partials, merge, store_block
from fastgan.ops.triton_support import tl, triton, unsupported_reason

__all__ = ["unsupported_reason", "upsample_add"]


@triton.jit(do_not_specialize=["lines", "steps"])
def upsample_add_kernel(
    input_ptr,  # [planes, 2 * rows, width, inner]: planes = images and inner = channels, or images * channels and 1
    low_ptr,  # [planes, rows, width / 2, inner]
    output_ptr,  # like input
    partial_ptr,  # [3, partials, channels] of float64, or None
    lines,
    columns,
    rows,
    steps,  # rows of low that a program goes through
    channels,
    width,
    partials,
    CHANNELS_LAST: tl.constexpr,
    LINES: tl.constexpr,
    COLS: tl.constexpr,
):
    OUT: tl.constexpr = output_ptr.dtype.element_ty
    ACC: tl.constexpr = tl.float64 if OUT == tl.float64 else tl.float32
    line, column, first, end, block = block_of(lines, columns, rows, steps, LINES, COLS)
    valid = (line < lines) & (column < columns)
    if CHANNELS_LAST:
        plane, x, inner, c = line // width, line % width, channels, column
    else:
        plane, x, inner, c = line, column, 1, 0
    # One tensor may have more than 2**31 elements: a line's place is kept in 64 bits.
    row = plane.to(tl.int64) * rows + first
    at = (row * 2 * width + x) * inner + c
    low_at = (row * (width // 2) + x // 2) * inner + c
    shift = tl.zeros((LINES, COLS), ACC)
    total = tl.zeros((LINES, COLS), ACC)
    squares = tl.zeros((LINES, COLS), ACC)
    for step in range(end - first):
        low = tl.load(low_ptr + low_at, mask=valid).to(ACC)
        for half in tl.static_range(2):
            y = (tl.load(input_ptr + at, mask=valid).to(ACC) + low).to(OUT)
            tl.store(output_ptr + at, y, mask=valid)
            if partial_ptr is not None:
                shift, total, squares = add_row(shift, total, squares, y.to(ACC), 2 * step + half == 0)
            at += width * inner
        low_at += width // 2 * inner
    if partial_ptr is not None:
        store_block(
            partial_ptr, partials, channels, line, column, block, lines, columns, tl.cdiv(rows, steps),
            (2 * (end - first)).to(ACC), shift, total, squares, CHANNELS_LAST, COLS,
        )  # fmt: skip


def upsample_add(input: Tensor, low: Tensor, statistics: bool) -> tuple[Tensor, Tensor]:
    layout = image_format(input)
    input, low = input.contiguous(memory_format=layout), low.contiguous(memory_format=layout)
    output = resampling.empty_images(input, list(input.shape), layout)
    gathered = resampling.empty_statistics(output, statistics)
    if output.numel() == 0:
        return output, gathered.zero_()
    height, width = input.shape[2:]
    cut = plan(input, height // 2, width, reduces=statistics)
    partial = empty_partials(output, cut.partials) if statistics else None
    with torch.cuda.device_of(input):
        upsample_add_kernel[cut.grid](input, low, output, partial, *cut.extents(), width, cut.partials, **cut.blocks())
        if partial is not None:
            merge(partial, gathered)
    return output, gathered
