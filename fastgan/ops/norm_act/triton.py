"""norm_act in Triton, for NVIDIA and AMD.

A tensor is an array [samples, channels, pixels], its channels outermost or innermost in each sample. A program takes
one sample, a block of its channels and some of its pixels, a tile at a time, with what lies together in memory along
the tile's rows. Sums over pixels leave as partial ones, which are added up in fixed order. No atomics.
"""

# No `from __future__ import annotations` where kernels live: Triton reads their annotations.
# mypy: disable-error-code=no-untyped-def
from typing import Any, NamedTuple

import torch
from torch import Tensor

from fastgan.ops.bias_act.triton_activations import slope, value
from fastgan.ops.norm_act import steps
from fastgan.ops.norm_act.reference import norm_act_double_backward
from fastgan.ops.norm_act.shapes import accumulator
from fastgan.ops.norm_act.steps import View
from fastgan.ops.triton_support import tl, triton, unsupported_reason

__all__ = ["moments_of", "norm_act", "norm_act_backward", "norm_act_double_backward", "unsupported_reason"]


@triton.jit
def _tile(channels, pixels, parts, steps, LAST: tl.constexpr, C: tl.constexpr, P: tl.constexpr):
    """The program's sample, part, channels, pixels and the offsets of its first tile, whose steps are P pixels long."""
    blocks = tl.cdiv(channels, C)
    part = tl.program_id(0) % parts
    block = tl.program_id(0) // parts % blocks
    sample = tl.program_id(0) // parts // blocks
    if LAST:
        channel = block * C + tl.arange(0, C)[None, :]
        pixel = part * steps * P + tl.arange(0, P)[:, None]
        offset = pixel.to(tl.int64) * channels + channel
    else:
        channel = block * C + tl.arange(0, C)[:, None]
        pixel = part * steps * P + tl.arange(0, P)[None, :]
        offset = channel.to(tl.int64) * pixels + pixel
    # One tensor may have more than 2**31 elements: what is the same for all elements is kept in 64 bits.
    return sample, part, channel, pixel, sample.to(tl.int64) * channels * pixels + offset


@triton.jit
def _scalar(number, DTYPE: tl.constexpr):
    return tl.full((), number, DTYPE)


@triton.jit
def _load(pointer, sample, channel, channels, by_sample, default, ACC: tl.constexpr):
    """A parameter's values for the channels of a sample; by_sample is 1 where each sample has its own, else 0."""
    if pointer is None:
        return tl.full(channel.shape, default, ACC)
    else:  # noqa: RET505 - how Triton knows that what follows is not reached
        return tl.load(pointer + sample.to(tl.int64) * by_sample * channels + channel, mask=channel < channels)


@triton.jit
def _affine(
    mean_ptr, variance_ptr, weight_ptr, bias_ptr, sample, channel, channels, statistic_by, weight_by, bias_by, eps,
    ACC: tl.constexpr,
):  # fmt: skip
    """Mean, 1 / deviation, weight and bias of the channels."""
    mean = _load(mean_ptr, sample, channel, channels, statistic_by, 0.0, ACC)
    factor = tl.full(channel.shape, 1.0, ACC)
    if variance_ptr is not None:
        variance = _load(variance_ptr, sample, channel, channels, statistic_by, 1.0, ACC)
        factor = 1.0 / tl.sqrt(variance + _scalar(eps, ACC))
    weight = _load(weight_ptr, sample, channel, channels, weight_by, 1.0, ACC)
    return mean, factor, weight, _load(bias_ptr, sample, channel, channels, bias_by, 0.0, ACC)


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
    sample, part, channel, pixel, offset = _tile(channels, pixels, parts, steps, LAST, C, P)
    # Everything is relative to the first tile's mean, rounded: sums of values far from zero would lose digits.
    mask = (channel < channels) & (pixel < pixels)
    first = tl.load(input_ptr + offset, mask=mask, other=0.0).to(ACC)
    centre = tl.sum(first, AXIS, keep_dims=True) / tl.maximum(tl.sum((pixel < pixels).to(ACC)), 1.0)
    seen = _scalar(0.0, ACC)
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
    total = _scalar(0.0, ACC)
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


@triton.jit
def norm_act_fwd_kernel(
    input_ptr,  # [samples, channels, pixels]
    mean_ptr,  # this and the next three: [channels], [samples, channels] or None
    variance_ptr,
    weight_ptr,
    bias_ptr,
    output_ptr,  # [samples, channels, pixels]
    channels,
    pixels,
    parts,
    statistic_by,
    weight_by,
    bias_by,
    eps: tl.float64,
    alpha: tl.float64,
    gain: tl.float64,
    ACT: tl.constexpr,
    LAST: tl.constexpr,
    C: tl.constexpr,
    P: tl.constexpr,
):
    OUT: tl.constexpr = output_ptr.dtype.element_ty
    ACC: tl.constexpr = tl.float64 if tl.float64 == OUT else tl.float32
    sample, _, channel, pixel, offset = _tile(channels, pixels, parts, 1, LAST, C, P)
    mean, factor, weight, bias = _affine(
        mean_ptr, variance_ptr, weight_ptr, bias_ptr, sample, channel, channels, statistic_by, weight_by, bias_by, eps,
        ACC,
    )  # fmt: skip
    mask = (channel < channels) & (pixel < pixels)
    x = tl.load(input_ptr + offset, mask=mask).to(ACC)
    y = value((x - mean) * (weight * factor) + bias, _scalar(alpha, ACC), ACT) * _scalar(gain, ACC)
    tl.store(output_ptr + offset, y.to(OUT), mask=mask)


@triton.jit(do_not_specialize=["parts", "steps"])
def norm_act_sums_kernel(
    grad_output_ptr,  # [samples, channels, pixels]
    input_ptr,  # [samples, channels, pixels]
    mean_ptr,  # this and the next three: [channels], [samples, channels] or None
    variance_ptr,
    weight_ptr,
    bias_ptr,
    partial_ptr,  # [2, samples, parts, channels]
    samples,
    channels,
    pixels,
    parts,
    steps,
    statistic_by,
    weight_by,
    bias_by,
    eps: tl.float64,
    alpha: tl.float64,
    gain: tl.float64,
    ACT: tl.constexpr,
    LAST: tl.constexpr,
    C: tl.constexpr,
    P: tl.constexpr,
):
    ACC: tl.constexpr = partial_ptr.dtype.element_ty
    AXIS: tl.constexpr = 0 if LAST else 1
    sample, part, channel, pixel, offset = _tile(channels, pixels, parts, steps, LAST, C, P)
    mean, factor, weight, bias = _affine(
        mean_ptr, variance_ptr, weight_ptr, bias_ptr, sample, channel, channels, statistic_by, weight_by, bias_by, eps,
        ACC,
    )  # fmt: skip
    scale = weight * factor
    alpha_ = _scalar(alpha, ACC)
    product = tl.zeros(channel.shape, ACC)
    gradient = tl.zeros(channel.shape, ACC)
    for _ in range(steps):
        mask = (channel < channels) & (pixel < pixels)
        x = tl.load(input_ptr + offset, mask=mask, other=0.0).to(ACC) - mean
        g = tl.load(grad_output_ptr + offset, mask=mask, other=0.0).to(ACC) * slope(x * scale + bias, alpha_, ACT)
        product += tl.sum(tl.where(mask, g * x, 0.0), AXIS, keep_dims=True)
        gradient += tl.sum(g, AXIS, keep_dims=True)
        pixel += P
        offset += P * channels if LAST else P
    target = partial_ptr + (sample.to(tl.int64) * parts + part) * channels + channel
    gain_ = _scalar(gain, ACC)
    tl.store(target, product * factor * gain_, mask=channel < channels)
    tl.store(target + tl.cast(samples, tl.int64) * parts * channels, gradient * gain_, mask=channel < channels)


@triton.jit
def norm_act_bwd_kernel(
    grad_output_ptr,  # [samples, channels, pixels]
    input_ptr,  # [samples, channels, pixels]
    mean_ptr,  # this and the next three: [channels], [samples, channels] or None
    variance_ptr,
    weight_ptr,
    bias_ptr,
    product_ptr,  # mean of weight g x̂, like the statistics, or None
    gradient_ptr,  # mean of weight g, like the statistics, or None
    grad_input_ptr,  # [samples, channels, pixels]
    channels,
    pixels,
    parts,
    statistic_by,
    weight_by,
    bias_by,
    eps: tl.float64,
    alpha: tl.float64,
    gain: tl.float64,
    ACT: tl.constexpr,
    LAST: tl.constexpr,
    C: tl.constexpr,
    P: tl.constexpr,
):
    OUT: tl.constexpr = grad_input_ptr.dtype.element_ty
    ACC: tl.constexpr = tl.float64 if tl.float64 == OUT else tl.float32
    sample, _, channel, pixel, offset = _tile(channels, pixels, parts, 1, LAST, C, P)
    mean, factor, weight, bias = _affine(
        mean_ptr, variance_ptr, weight_ptr, bias_ptr, sample, channel, channels, statistic_by, weight_by, bias_by, eps,
        ACC,
    )  # fmt: skip
    scale = weight * factor
    mask = (channel < channels) & (pixel < pixels)
    x = tl.load(input_ptr + offset, mask=mask).to(ACC) - mean
    grad = tl.load(grad_output_ptr + offset, mask=mask).to(ACC)
    grad = grad * slope(x * scale + bias, _scalar(alpha, ACC), ACT) * (scale * _scalar(gain, ACC))
    if product_ptr is not None:
        product = _load(product_ptr, sample, channel, channels, statistic_by, 0.0, ACC)
        gradient = _load(gradient_ptr, sample, channel, channels, statistic_by, 0.0, ACC)
        grad -= factor * gradient + x * (factor * factor * product)
    tl.store(grad_input_ptr + offset, grad.to(OUT), mask=mask)


@triton.jit
def norm_act_pixel_fwd_kernel(
    input_ptr,  # [samples, channels, pixels]
    weight_ptr,  # this and the next: [channels], [samples, channels] or None
    bias_ptr,
    output_ptr,  # [samples, channels, pixels]
    channels,
    pixels,
    parts,
    weight_by,
    bias_by,
    eps: tl.float64,
    alpha: tl.float64,
    gain: tl.float64,
    ACT: tl.constexpr,
    LAST: tl.constexpr,
    C: tl.constexpr,
    P: tl.constexpr,
):
    OUT: tl.constexpr = output_ptr.dtype.element_ty
    ACC: tl.constexpr = tl.float64 if tl.float64 == OUT else tl.float32
    AXIS: tl.constexpr = 1 if LAST else 0
    sample, _, channel, pixel, offset = _tile(channels, pixels, parts, 1, LAST, C, P)
    weight = _load(weight_ptr, sample, channel, channels, weight_by, 1.0, ACC)
    bias = _load(bias_ptr, sample, channel, channels, bias_by, 0.0, ACC)
    mask = (channel < channels) & (pixel < pixels)
    x = tl.load(input_ptr + offset, mask=mask, other=0.0).to(ACC)
    square = tl.sum(x * x, AXIS, keep_dims=True) / channels.to(ACC)
    x = x / tl.sqrt(square + _scalar(eps, ACC))
    y = value(x * weight + bias, _scalar(alpha, ACC), ACT) * _scalar(gain, ACC)
    tl.store(output_ptr + offset, y.to(OUT), mask=mask)


@triton.jit(do_not_specialize=["parts", "steps"])
def norm_act_pixel_bwd_kernel(
    grad_output_ptr,  # [samples, channels, pixels]
    input_ptr,  # [samples, channels, pixels]
    weight_ptr,  # this and the next: [channels], [samples, channels] or None
    bias_ptr,
    grad_input_ptr,  # [samples, channels, pixels]
    partial_ptr,  # [2, samples, parts, channels]
    samples,
    channels,
    pixels,
    parts,
    steps,
    weight_by,
    bias_by,
    eps: tl.float64,
    alpha: tl.float64,
    gain: tl.float64,
    ACT: tl.constexpr,
    LAST: tl.constexpr,
    C: tl.constexpr,
    P: tl.constexpr,
):
    OUT: tl.constexpr = grad_input_ptr.dtype.element_ty
    ACC: tl.constexpr = partial_ptr.dtype.element_ty
    AXIS: tl.constexpr = 1 if LAST else 0
    sample, part, channel, pixel, offset = _tile(channels, pixels, parts, steps, LAST, C, P)
    weight = _load(weight_ptr, sample, channel, channels, weight_by, 1.0, ACC)
    bias = _load(bias_ptr, sample, channel, channels, bias_by, 0.0, ACC)
    alpha_ = _scalar(alpha, ACC)
    gain_ = _scalar(gain, ACC)
    product = tl.zeros(channel.shape, ACC)
    gradient = tl.zeros(channel.shape, ACC)
    for _ in range(steps):
        mask = (channel < channels) & (pixel < pixels)
        x = tl.load(input_ptr + offset, mask=mask, other=0.0).to(ACC)
        factor = 1.0 / tl.sqrt(tl.sum(x * x, AXIS, keep_dims=True) / channels.to(ACC) + _scalar(eps, ACC))
        x = x * factor
        grad = tl.load(grad_output_ptr + offset, mask=mask, other=0.0).to(ACC)
        grad = tl.where(mask, grad * gain_ * slope(x * weight + bias, alpha_, ACT), 0.0)
        product += tl.sum(grad * x, 1 - AXIS, keep_dims=True)
        gradient += tl.sum(grad, 1 - AXIS, keep_dims=True)
        grad = tl.where(mask, grad * weight, 0.0)
        grad = factor * (grad - x * (tl.sum(grad * x, AXIS, keep_dims=True) / channels.to(ACC)))
        tl.store(grad_input_ptr + offset, grad.to(OUT), mask=mask)
        pixel += P
        offset += P * channels if LAST else P
    target = partial_ptr + (sample.to(tl.int64) * parts + part) * channels + channel
    tl.store(target, product, mask=channel < channels)
    tl.store(target + tl.cast(samples, tl.int64) * parts * channels, gradient, mask=channel < channels)


class Plan(NamedTuple):
    """How a tensor is cut into tiles: by shape and dtype alone, so that results do not depend on the device."""

    samples: int
    channels: int
    pixels: int
    last: bool
    c: int
    p: int
    steps: int

    @property
    def parts(self) -> int:
        """Programs that share the pixels of a sample."""
        return triton.cdiv(self.pixels, self.p * self.steps)

    @property
    def grid(self) -> tuple[int]:
        """Launch grid: axis 0, which alone may exceed 65535."""
        return (self.samples * triton.cdiv(self.channels, self.c) * self.parts,)

    def blocks(self) -> dict[str, Any]:
        """The kernels' compile-time tile arguments, and warps."""
        return {"LAST": self.last, "C": self.c, "P": self.p, "num_warps": 4}


#: (elements of the tensor below, of a tile): one to four 16-byte loads a thread, programs for every multiprocessor.
_TILES = ((1 << 17, 512), (1 << 19, 1024), (1 << 62, 2048))
#: Programs that a pass with sums is shared among: fewer write fewer partial sums.
_REDUCING_PROGRAMS = 1024
#: Parts of a statistic that are merged at once.
_MERGED_ROWS = 64


def plan(view: View, reduces: bool = False, whole_channels: bool = False) -> Plan:
    """Cut a tensor; `reduces` where sums leave a program, `whole_channels` where it sums over all channels."""
    tile = next(size for below, size in _TILES if view.x.numel() < below)
    if view.x.dtype == torch.float64:
        tile //= 2
    channels, pixels = triton.next_power_of_2(view.channels), triton.next_power_of_2(view.pixels)
    if whole_channels:
        c = channels
        p = min(max(tile // c, 1), pixels)
    elif view.channels_last:
        c = min(channels, 64)
        p = min(tile // c, pixels)
    else:
        p = min(pixels, tile)
        c = min(tile // p, channels)
    whole = Plan(view.samples, view.channels, view.pixels, view.channels_last, c, p, 1)
    steps = min(max(whole.grid[0] // _REDUCING_PROGRAMS, 1), whole.parts) if reduces else 1
    return whole._replace(steps=steps)


def _by_sample(*parameters: Tensor | None) -> list[int]:
    return [int(p is not None and p.dim() == 2) for p in parameters]


def _partial(view: View, cut: Plan, sums: int = 2) -> Tensor:
    return view.x.new_empty((sums, cut.samples, cut.parts, cut.channels), dtype=accumulator(view.x.dtype))


def _statistics(view: View, by_sample: bool, results: tuple[Tensor, Tensor, Tensor]) -> None:
    if view.x.numel() == 0:
        for result in results:
            result.zero_()
        return
    cut = plan(view, reduces=True)
    partial = _partial(view, cut, sums=3)
    groups = cut.samples if by_sample else 1
    merged = cut.samples * cut.parts // groups
    with torch.cuda.device_of(view.x):
        norm_act_statistics_kernel[cut.grid](
            view.x, partial, cut.samples, cut.channels, cut.pixels, cut.parts, cut.steps, **cut.blocks()
        )
        norm_act_merge_kernel[(groups * triton.cdiv(cut.channels, 16),)](
            partial,
            *results,
            groups,
            cut.channels,
            cut.pixels,
            cut.parts,
            merged,
            cut.p * cut.steps,
            ROWS=min(_MERGED_ROWS, triton.next_power_of_2(merged)),
            COLS=16,
            num_warps=4,
        )


def _forward(view: View, output: Tensor) -> None:
    if view.x.numel() == 0:
        return
    cut = plan(view)
    with torch.cuda.device_of(view.x):
        norm_act_fwd_kernel[cut.grid](
            view.x,
            view.mean,
            view.variance,
            view.weight,
            view.bias,
            output,
            cut.channels,
            cut.pixels,
            cut.parts,
            *_by_sample(view.mean, view.weight, view.bias),
            view.eps,
            view.alpha,
            view.gain,
            ACT=view.act,
            **cut.blocks(),
        )


def _sums(view: View, grad_output: Tensor, sums: Tensor) -> None:
    if view.x.numel() == 0:
        sums.zero_()
        return
    cut = plan(view, reduces=True)
    partial = sums if cut.parts == 1 else _partial(view, cut)
    with torch.cuda.device_of(view.x):
        norm_act_sums_kernel[cut.grid](
            grad_output,
            view.x,
            view.mean,
            view.variance,
            view.weight,
            view.bias,
            partial,
            cut.samples,
            cut.channels,
            cut.pixels,
            cut.parts,
            cut.steps,
            *_by_sample(view.mean, view.weight, view.bias),
            view.eps,
            view.alpha,
            view.gain,
            ACT=view.act,
            **cut.blocks(),
        )
    if cut.parts > 1:
        torch.sum(partial, 2, out=sums)


def _input_gradient(view: View, grad_output: Tensor, moments: Tensor | None, grad_input: Tensor) -> None:
    if view.x.numel() == 0:
        return
    cut = plan(view)
    product, gradient = (None, None) if moments is None else (moments[0], moments[1])
    with torch.cuda.device_of(view.x):
        norm_act_bwd_kernel[cut.grid](
            grad_output,
            view.x,
            view.mean,
            view.variance,
            view.weight,
            view.bias,
            product,
            gradient,
            grad_input,
            cut.channels,
            cut.pixels,
            cut.parts,
            *_by_sample(view.mean, view.weight, view.bias),
            view.eps,
            view.alpha,
            view.gain,
            ACT=view.act,
            **cut.blocks(),
        )


def _pixel_forward(view: View, output: Tensor) -> None:
    if view.x.numel() == 0:
        return
    cut = plan(view, whole_channels=True)
    with torch.cuda.device_of(view.x):
        norm_act_pixel_fwd_kernel[cut.grid](
            view.x,
            view.weight,
            view.bias,
            output,
            cut.channels,
            cut.pixels,
            cut.parts,
            *_by_sample(view.weight, view.bias),
            view.eps,
            view.alpha,
            view.gain,
            ACT=view.act,
            **cut.blocks(),
        )


def _pixel_backward(view: View, grad_output: Tensor, grad_input: Tensor, sums: Tensor) -> None:
    if view.x.numel() == 0:
        sums.zero_()
        return
    cut = plan(view, reduces=True, whole_channels=True)
    partial = sums if cut.parts == 1 else _partial(view, cut)
    with torch.cuda.device_of(view.x):
        norm_act_pixel_bwd_kernel[cut.grid](
            grad_output,
            view.x,
            view.weight,
            view.bias,
            grad_input,
            partial,
            cut.samples,
            cut.channels,
            cut.pixels,
            cut.parts,
            cut.steps,
            *_by_sample(view.weight, view.bias),
            view.eps,
            view.alpha,
            view.gain,
            ACT=view.act,
            **cut.blocks(),
        )
    if cut.parts > 1:
        torch.sum(partial, 2, out=sums)


_KERNELS = steps.Kernels(_statistics, _forward, _sums, _input_gradient, _pixel_forward, _pixel_backward)


def moments_of(input: Tensor, *args: Any) -> tuple[Tensor, Tensor, Tensor]:
    """:func:`fastgan.ops.norm_act.steps.moments_of` by these kernels."""
    return steps.moments_of(_KERNELS, input, *args)


def norm_act(input: Tensor, *args: Any) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    return steps.forward(_KERNELS, input, *args)


def norm_act_backward(grad_output: Tensor, input: Tensor, *args: Any) -> tuple[Tensor, Tensor, Tensor]:
    return steps.backward(_KERNELS, grad_output, input, *args)
