"""Statistics of each channel of what a Triton kernel writes: mean and sum of squared deviations, without atomics.

Every program leaves the count, mean and squared deviations of its own numbers; a second, small kernel merges them in
fixed order (T. F. Chan, G. H. Golub, R. J. LeVeque, 1979), in float64. Squares are those of differences to a number of
the same size.
"""

# No `from __future__ import annotations` where kernels live: Triton reads their annotations.
# mypy: disable-error-code=no-untyped-def
import torch
from torch import Tensor

from fastgan.ops.triton_support import tl, triton

__all__ = ["add_row", "empty_partials", "merge", "store_block", "store_partial"]

_BLOCK_ROWS = 128
_BLOCK_COLS = 8


@triton.jit
def add_row(shift, total, squares, value, is_first):
    """Each lane's sums of what its numbers and their squares are beyond its first number, with one number more."""
    shift = tl.where(is_first, value, shift)
    away = value - shift
    return shift, total + away, squares + away * away


@triton.jit
def store_partial(partial_ptr, place, partials, channels, count, mean, m2, mask):
    """Write a channel's count, mean and squared deviations into [3, partials, channels]; `place` is in the last two."""
    plane = tl.cast(partials, tl.int64) * channels
    tl.store(partial_ptr + place, tl.zeros_like(mean) + count.to(tl.float64), mask=mask)
    tl.store(partial_ptr + plane + place, mean, mask=mask)
    tl.store(partial_ptr + 2 * plane + place, m2.to(tl.float64), mask=mask)


@triton.jit
def store_block(
    partial_ptr,  # [3, partials, channels] of float64
    partials,
    channels,
    line,
    column,
    block,
    lines,
    columns,
    pieces,
    count,  # of each lane
    shift,
    total,
    squares,
    CHANNELS_LAST: tl.constexpr,
    COLS: tl.constexpr,
):
    """Merge the lanes of a block of :mod:`fastgan.ops.triton_images` that are of one channel, and write that."""
    below, along, piece = block
    valid = (line < lines) & (column < columns)
    AXIS: tl.constexpr = 0 if CHANNELS_LAST else 1
    lanes = tl.sum(valid.to(shift.dtype), AXIS, keep_dims=True)
    lanes = tl.where(lanes > 0, lanes, 1.0)
    # Means are differences to a number of their size, so that they keep their digits.
    origin = tl.sum(tl.where(valid, shift, 0.0), AXIS, keep_dims=True) / lanes
    mean = (shift - origin) + total / count
    center = tl.sum(tl.where(valid, mean, 0.0), AXIS, keep_dims=True) / lanes
    away = mean - center
    within = squares - total * (total / count)
    within = tl.where(within < 0, 0.0, within)  # keeps NaN
    m2 = tl.sum(tl.where(valid, within + away * away * count, 0.0), AXIS, keep_dims=True)
    if CHANNELS_LAST:
        place = (below * pieces + piece).to(tl.int64) * channels + column
        mask = column < channels
    else:
        image = line // channels
        place = ((image * tl.cdiv(columns, COLS) + along) * pieces + piece).to(tl.int64) * channels + line % channels
        mask = line < lines
    mean = origin.to(tl.float64) + center.to(tl.float64)
    store_partial(partial_ptr, place, partials, channels, lanes * count, mean, m2, mask)


@triton.jit(do_not_specialize=["partials"])
def merge_moments_kernel(
    partial_ptr,  # [3, partials, channels] of float64
    statistics_ptr,  # [2, channels]
    partials,
    channels,
    BLOCK_ROWS: tl.constexpr,
    BLOCK_COLS: tl.constexpr,
):
    rows = tl.arange(0, BLOCK_ROWS)[:, None]
    channel = tl.program_id(0) * BLOCK_COLS + tl.arange(0, BLOCK_COLS)[None, :]
    plane = tl.cast(partials, tl.int64) * channels
    count = tl.zeros((BLOCK_ROWS, BLOCK_COLS), tl.float64)
    total = tl.zeros((BLOCK_ROWS, BLOCK_COLS), tl.float64)
    for first in range(0, partials, BLOCK_ROWS):
        mask = (first + rows < partials) & (channel < channels)
        at = partial_ptr + (first + rows).to(tl.int64) * channels + channel
        numbers = tl.load(at, mask=mask, other=0.0)
        count += numbers
        total += numbers * tl.load(at + plane, mask=mask, other=0.0)
    numbers = tl.sum(count, 0, keep_dims=True)
    mean = tl.sum(total, 0, keep_dims=True) / tl.where(numbers > 0, numbers, 1.0)
    total = tl.zeros((BLOCK_ROWS, BLOCK_COLS), tl.float64)
    for first in range(0, partials, BLOCK_ROWS):
        mask = (first + rows < partials) & (channel < channels)
        at = partial_ptr + (first + rows).to(tl.int64) * channels + channel
        away = tl.load(at + plane, mask=mask, other=0.0) - mean
        total += tl.load(at + 2 * plane, mask=mask, other=0.0)
        total += away * away * tl.load(at, mask=mask, other=0.0)
    m2 = tl.sum(total, 0, keep_dims=True)
    OUT: tl.constexpr = statistics_ptr.dtype.element_ty
    tl.store(statistics_ptr + channel, mean.to(OUT), mask=channel < channels)
    tl.store(statistics_ptr + channels + channel, m2.to(OUT), mask=channel < channels)


def empty_partials(output: Tensor, partials: int) -> Tensor:
    """Memory for the partial statistics of the channels of `output`."""
    return torch.empty((3, partials, output.shape[1]), dtype=torch.float64, device=output.device)


def merge(partial: Tensor, statistics: Tensor) -> None:
    """Write the statistics [2, channels] that the partial ones make up."""
    _, partials, channels = partial.shape
    rows = min(_BLOCK_ROWS, triton.next_power_of_2(partials))
    merge_moments_kernel[(triton.cdiv(channels, _BLOCK_COLS),)](
        partial, statistics, partials, channels, BLOCK_ROWS=rows, BLOCK_COLS=_BLOCK_COLS, num_warps=4
    )
