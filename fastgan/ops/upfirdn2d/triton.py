"""upfirdn2d in Triton, for NVIDIA and AMD.

A program takes a block of consecutive outputs, whatever their pixels and planes, so that images of any size leave no
lane idle. A plane is an image of one channel (NCHW) or of all (channels_last, whose channels are `inner`); the kernel
is the same. Each output reads the taps that fall on input pixels, and no inserted zero. The image is read from the
caches for all taps after the first. A separable filter of many taps goes in two passes.
"""

# No `from __future__ import annotations` where kernels live: Triton reads their annotations.
# mypy: disable-error-code=no-untyped-def
from collections.abc import Sequence

import torch
from torch import Tensor

from fastgan.ops.triton_support import tl, triton, unsupported_reason
from fastgan.ops.upfirdn2d.arguments import accumulator, filter_size, in_format, is_channels_last, new_output

__all__ = ["unsupported_reason", "upfirdn2d"]

#: Bytes of a program's outputs: (taps along x below, bytes). Few taps: 16 a thread; more keep more loads in flight.
_BLOCKS = ((5, 2048), (1 << 62, 1024))
#: Planes that are put together for the sake of full blocks have at most so many elements: places fit in 32 bits.
_GROUP = 1 << 20
#: With more taps than this for each output, a separable filter is cheaper in two passes than in one.
_ONE_PASS = 16


@triton.jit
def _first_tap(output, padding, UP: tl.constexpr, DOWN: tl.constexpr):
    """The first tap of an output that falls on an input element, and that element."""
    place = output * DOWN - padding
    # Rounded up, of numbers that may be negative, which division rounds towards zero.
    element = tl.where(place > 0, (place + UP - 1) // UP, -((-place) // UP))
    return element * UP - place, element


@triton.jit
def _tap(filter_ptr, first, phase, present, TAPS: tl.constexpr, UP: tl.constexpr, FLIP: tl.constexpr):
    """The tap `first` + phase of each output, of UP phases: one number for each phase, read once for all outputs."""
    tap = None
    for p in tl.static_range(UP):
        k = first + p
        stored = k if FLIP else TAPS - 1 - k
        number = tl.load(filter_ptr + stored, mask=present & (k < TAPS), other=0.0)
        tap = number if p == 0 else tl.where(phase == p, number, tap)
    return tap


@triton.jit
def _matrix_tap(
    filter_ptr, first_y, phase_y, first_x, phase_x,
    TAPS_Y: tl.constexpr, TAPS_X: tl.constexpr, UP_Y: tl.constexpr, UP_X: tl.constexpr, FLIP: tl.constexpr,
):  # fmt: skip
    """The same of a filter that is not separable."""
    tap = None
    for p in tl.static_range(UP_Y):
        k = first_y + p
        row = filter_ptr + (k if FLIP else TAPS_Y - 1 - k) * TAPS_X
        number = _tap(row, first_x, phase_x, k < TAPS_Y, TAPS_X, UP_X, FLIP)
        tap = number if p == 0 else tl.where(phase_y == p, number, tap)
    return tap


@triton.jit(do_not_specialize=["planes", "padding_y", "padding_x"])
def upfirdn2d_kernel(
    input_ptr,  # [planes, height, width, inner]
    filter_ptr,  # [TAPS_X] if SEPARABLE, else [TAPS_Y, TAPS_X], of the accumulating dtype; or None, for the tap 1
    output_ptr,  # [planes, output_height, output_width, inner]
    planes,
    height,
    width,
    inner,
    output_height,
    output_width,
    padding_y,
    padding_x,
    group,  # planes that blocks are made of together
    blocks,  # programs of a group
    gain: tl.float64,
    TAPS_Y: tl.constexpr,
    TAPS_X: tl.constexpr,
    UP_Y: tl.constexpr,
    UP_X: tl.constexpr,
    DOWN_Y: tl.constexpr,
    DOWN_X: tl.constexpr,
    SEPARABLE: tl.constexpr,
    FLIP: tl.constexpr,
    BLOCK: tl.constexpr,
):
    ACC: tl.constexpr = tl.float64 if input_ptr.dtype.element_ty == tl.float64 else tl.float32
    # One tensor may have more than 2**31 elements, a group of planes has not.
    first_plane = (tl.program_id(0) // blocks).to(tl.int64) * group
    place = tl.program_id(0) % blocks * BLOCK + tl.arange(0, BLOCK)
    c = place % inner
    pixel = place // inner
    x = pixel % output_width
    row = pixel // output_width
    y = row % output_height
    plane = row // output_height
    mask = place < tl.minimum(planes - first_plane, group).to(tl.int32) * (output_height * output_width * inner)
    source = input_ptr + first_plane * height * width * inner
    target = output_ptr + first_plane * output_height * output_width * inner

    tap_y, element_y = _first_tap(y, padding_y, UP_Y, DOWN_Y)
    tap_x, element_x = _first_tap(x, padding_x, UP_X, DOWN_X)
    start = plane * (height * width * inner) + c
    total = tl.zeros((BLOCK,), ACC)
    for i in range((TAPS_Y + UP_Y - 1) // UP_Y):
        iy = element_y + i
        ky = tap_y + i * UP_Y
        inside_y = mask & (iy >= 0) & (iy < height) & (ky < TAPS_Y)
        sum_x = tl.zeros((BLOCK,), ACC)
        for j in tl.static_range((TAPS_X + UP_X - 1) // UP_X):
            ix = element_x + j
            kx = tap_x + j * UP_X
            inside = inside_y & (ix >= 0) & (ix < width) & (kx < TAPS_X)
            value = tl.load(source + start + (iy * width + ix) * inner, mask=inside, other=0.0).to(ACC)
            if filter_ptr is not None:
                if SEPARABLE:
                    value *= _tap(filter_ptr, j * UP_X, tap_x, True, TAPS_X, UP_X, FLIP)
                else:
                    value *= _matrix_tap(filter_ptr, i * UP_Y, tap_y, j * UP_X, tap_x, TAPS_Y, TAPS_X, UP_Y, UP_X, FLIP)
            sum_x += value
        if SEPARABLE and filter_ptr is not None:
            sum_x *= _tap(filter_ptr, i * UP_Y, tap_y, True, TAPS_Y, UP_Y, FLIP)
        total += sum_x
    total *= tl.full((), gain, ACC)
    tl.store(target + place, total.to(output_ptr.dtype.element_ty), mask=mask)


def _launch(
    input: Tensor,
    filter: Tensor | None,
    taps: tuple[int, int],
    output: Tensor,
    up: Sequence[int],
    down: Sequence[int],
    padding: tuple[int, int],
    flip_filter: bool,
    gain: float,
) -> None:
    """The filter of `taps` (height, width) on `input` in the format of `output`; padding (x0, y0)."""
    batch, channels, height, width = input.shape
    inner = channels if is_channels_last(output) else 1
    planes = batch * channels // inner
    size = output.shape[2] * output.shape[3] * inner
    group = max(1, min(planes, _GROUP // max(size, height * width * inner)))
    block = next(size for below, size in _BLOCKS if -(-taps[1] // up[0]) < below) // output.element_size()
    blocks = triton.cdiv(group * size, block)
    with torch.cuda.device_of(input):
        upfirdn2d_kernel[(triton.cdiv(planes, group) * blocks,)](
            input,
            filter,
            output,
            planes,
            height,
            width,
            inner,
            output.shape[2],
            output.shape[3],
            padding[1],
            padding[0],
            group,
            blocks,
            gain,
            TAPS_Y=taps[0],
            TAPS_X=taps[1],
            UP_Y=up[1],
            UP_X=up[0],
            DOWN_Y=down[1],
            DOWN_X=down[0],
            SEPARABLE=filter is None or (filter.dim() == 1 and taps[0] == taps[1]),
            FLIP=flip_filter,
            BLOCK=block,
            num_warps=4,
        )


def upfirdn2d(
    input: Tensor,
    filter: Tensor | None,
    up: Sequence[int],
    down: Sequence[int],
    padding: Sequence[int],
    size: Sequence[int],
    flip_filter: bool,
    gain: float,
) -> Tensor:
    output = new_output(input, size)
    if input.numel() == 0:
        return output
    input = in_format(input)
    filter = None if filter is None else filter.contiguous()
    taps = filter_size(filter)
    x0, _, y0, _ = padding
    many = -(-taps[0] // up[1]) * -(-taps[1] // up[0]) > _ONE_PASS
    if filter is None or filter.dim() == 2 or not many:
        _launch(input, filter, taps, output, up, down, (x0, y0), flip_filter, gain)
        return output
    # Along y first, as the CPU has it; what lies between is not rounded to a half type.
    between = new_output(input, (size[0], input.shape[3]), accumulator(input.dtype))
    _launch(input, filter, (taps[0], 1), between, (1, up[1]), (1, down[1]), (0, y0), flip_filter, gain)
    _launch(between, filter, (1, taps[1]), output, (up[0], 1), (down[0], 1), (x0, 0), flip_filter, 1.0)
    return output
