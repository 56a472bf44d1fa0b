"""norm_act's statistics in Triton: each program's part of them, and their merging."""

# No `from __future__ import annotations` where kernels live: Triton reads their annotations.
# mypy: disable-error-code=no-untyped-def
from fastgan.ops.norm_act.triton_device import scalar, tile
from fastgan.ops.triton_support import tl, triton

__all__ = ["norm_act_merge_kernel", "norm_act_statistics_kernel"]


@triton.jit(do_not_specialize=["parts", "steps"])
def norm_act_statistics_kernel(
    input_ptr,  # [samples, channels, pixels]
    partial_ptr,  # [3, samples, parts, channels]: centres, means less these, sums of squared deviations
    samples,
    channels,
    pixels,
    parts,
    steps,
    LAST: tl.constexpr,
    C: tl.constexpr,
    P: tl.constexpr,
):
    ACC: tl.constexpr = partial_ptr.dtype.element_ty
    AXIS: tl.constexpr = 0 if LAST else 1
    sample, part, channel, pixel, offset = tile(channels, pixels, parts, steps, LAST, C, P)
    # Everything is relative to the first tile's mean, rounded: sums of values far from zero would lose digits.
    mask = (channel < channels) & (pixel < pixels)
    first = tl.load(input_ptr + offset, mask=mask, other=0.0).to(ACC)
    centre = tl.sum(first, AXIS, keep_dims=True) / tl.maximum(tl.sum((pixel < pixels).to(ACC)), 1.0)
    seen = scalar(0.0, ACC)
    mean = tl.zeros(channel.shape, ACC)
    squares = tl.zeros(channel.shape, ACC)
    for _ in range(steps):
        mask = (channel < channels) & (pixel < pixels)
        x = tl.where(mask, tl.load(input_ptr + offset, mask=mask, other=0.0).to(ACC) - centre, 0.0)
        n = tl.sum((pixel < pixels).to(ACC))
        tile_mean = tl.sum(x, AXIS, keep_dims=True) / tl.maximum(n, 1.0)
        deviation = tl.where(mask, x - tile_mean, 0.0)
        total = tl.maximum(seen + n, 1.0)
        distance = tile_mean - mean
        squares += tl.sum(deviation * deviation, AXIS, keep_dims=True) + distance * distance * (seen * n / total)
        mean += distance * (n / total)
        seen += n
        pixel += P
        offset += P * channels if LAST else P
    target = partial_ptr + (sample.to(tl.int64) * parts + part) * channels + channel
    rows = tl.cast(samples, tl.int64) * parts * channels
    tl.store(target, centre, mask=channel < channels)
    tl.store(target + rows, mean, mask=channel < channels)
    tl.store(target + 2 * rows, squares, mask=channel < channels)


@triton.jit
def _part_means(start, rows, at, merged, channels, centre, valid):
    """The parts' means less a centre, of which the digits that float32 holds beside a large mean are few."""
    mask = (at < merged) & valid
    own = tl.load(start + at * channels, mask=mask, other=0.0)
    return (own - centre) + tl.load(start + rows + at * channels, mask=mask, other=0.0)


@triton.jit(do_not_specialize=["parts", "merged"])
def norm_act_merge_kernel(
    partial_ptr,  # [3, groups * merged, channels]: centres, means less these, sums of squared deviations
    mean_ptr,  # [groups, channels]
    variance_ptr,  # [groups, channels]
    unbiased_ptr,  # [groups, channels]
    groups,
    channels,
    pixels,
    parts,  # of a sample
    merged,  # parts that share a statistic
    length,  # pixels of a part, but the last of a sample
    ROWS: tl.constexpr,
    COLS: tl.constexpr,
):
    ACC: tl.constexpr = mean_ptr.dtype.element_ty
    blocks = tl.cdiv(channels, COLS)
    group = tl.program_id(0) // blocks
    channel = tl.program_id(0) % blocks * COLS + tl.arange(0, COLS)[None, :]
    row = tl.arange(0, ROWS)[:, None]
    start = partial_ptr + tl.cast(group, tl.int64) * merged * channels + channel
    rows = tl.cast(groups, tl.int64) * merged * channels
    valid = channel < channels
    # Deviations of the parts' means are taken from one of them, and squared from the mean of all: nothing cancels.
    centre = tl.load(start, mask=valid, other=0.0)
    total = scalar(0.0, ACC)
    weighted = tl.zeros((ROWS, COLS), ACC)
    for begin in range(0, merged, ROWS):
        at = begin + row
        n = tl.where(at < merged, tl.minimum(pixels - at % parts * length, length), 0).to(ACC)
        total += tl.sum(n)
        weighted += n * _part_means(start, rows, at, merged, channels, centre, valid)
    mean = tl.sum(weighted, 0, keep_dims=True) / total
    squares = tl.zeros((ROWS, COLS), ACC)
    for begin in range(0, merged, ROWS):
        at = begin + row
        n = tl.where(at < merged, tl.minimum(pixels - at % parts * length, length), 0).to(ACC)
        distance = _part_means(start, rows, at, merged, channels, centre, valid) - mean
        squares += n * distance * distance
        squares += tl.load(start + 2 * rows + at * channels, mask=(at < merged) & valid, other=0.0)
    squares = tl.sum(squares, 0, keep_dims=True)
    target = group * channels + channel
    tl.store(mean_ptr + target, centre + mean, mask=valid)
    tl.store(variance_ptr + target, squares / total, mask=valid)
    tl.store(unbiased_ptr + target, squares / tl.maximum(total - 1.0, 1.0), mask=valid)
