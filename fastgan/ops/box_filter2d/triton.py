"""box_filter2d in Triton, for NVIDIA and AMD: one pass, with what belongs before and after the sum.

A program walks down an image's rows and keeps the sums of horizontal neighbours of the row above, so that each element
is read for itself and for its neighbour, the second time from the cache.
"""

# No `from __future__ import annotations` where kernels live: Triton reads their annotations. It also needs the
# `else` after a `return`, to know that what follows is not reached.
# mypy: disable-error-code=no-untyped-def
# ruff: noqa: RET505, SIM300
import torch
from torch import Tensor

from fastgan.ops.bias_act.triton_activations import slope, value
from fastgan.ops.layout import image_format
from fastgan.ops.resampling import moments
from fastgan.ops.triton_images import block_of, plan
from fastgan.ops.triton_moments import add_row, empty_partials, merge, store_block
from fastgan.ops.triton_support import tl, triton, unsupported_reason

__all__ = ["box", "box_filter2d", "box_filter2d_backward", "unsupported_reason"]


@triton.jit
def _before(input_ptr, gate_ptr, offsets, mask, alpha, ACT: tl.constexpr, ACC: tl.constexpr):
    """act(x), or x act'(gate) where there is a gate; 0 outside the image."""
    x = tl.load(input_ptr + offsets, mask=mask, other=0.0).to(ACC)
    if gate_ptr is not None:
        return x * slope(tl.load(gate_ptr + offsets, mask=mask, other=0.0).to(ACC), alpha, ACT)
    else:
        return value(x, alpha, ACT)


@triton.jit
def _neighbours(
    input_ptr, gate_ptr, offsets, apart, valid, x, width, present, alpha, ACT: tl.constexpr, ACC: tl.constexpr
):
    """Sums of an element and the next one of its row; `present` is whether there is such a row."""
    end = tl.where(present, width, 0)
    here = _before(input_ptr, gate_ptr, offsets, valid & (x >= 0) & (x < end), alpha, ACT, ACC)
    return here + _before(input_ptr, gate_ptr, offsets + apart, valid & (x + 1 < end), alpha, ACT, ACC)


@triton.jit(do_not_specialize=["lines", "steps"])
def box_filter2d_kernel(
    input_ptr,  # [planes, height, width, inner]: planes = images and inner = channels, or images * channels and 1
    input_gate_ptr,  # like input, or None
    output_gate_ptr,  # like output, or None
    bias_ptr,  # [channels], or None
    residual_ptr,  # like output, or None
    output_ptr,  # [planes, rows, out_width, inner]
    partial_ptr,  # [3, partials, channels] of float64, or None
    lines,
    columns,
    rows,
    steps,  # rows that a program goes through
    channels,
    height,
    width,
    out_width,
    partials,
    alpha: tl.float64,
    scale: tl.float64,
    ACT: tl.constexpr,
    PADDING: tl.constexpr,
    CHANNELS_LAST: tl.constexpr,
    LINES: tl.constexpr,
    COLS: tl.constexpr,
):
    OUT: tl.constexpr = output_ptr.dtype.element_ty
    ACC: tl.constexpr = tl.float64 if OUT == tl.float64 else tl.float32
    # The adjoint's activation is that of the gate alone.
    BEFORE: tl.constexpr = ACT if output_gate_ptr is None else "linear"
    alpha_ = tl.full((), alpha, ACC)
    scale_ = tl.full((), scale, ACC)
    line, column, first, end, block = block_of(lines, columns, rows, steps, LINES, COLS)
    valid = (line < lines) & (column < columns)
    if CHANNELS_LAST:
        plane, x, inner, c = line // out_width, line % out_width, channels, column
        channel, channel_valid = column, column < columns
    else:
        plane, x, inner, c = line, column, 1, 0
        channel, channel_valid = line % channels, line < lines
    x -= PADDING
    # One tensor may have more than 2**31 elements: a line's place is kept in 64 bits.
    plane = plane.to(tl.int64)
    source = ((plane * height + first - PADDING) * width + x) * inner + c
    target = ((plane * rows + first) * out_width + x + PADDING) * inner + c
    if bias_ptr is not None:
        bias = tl.load(bias_ptr + channel, mask=channel_valid).to(ACC)
    above = _neighbours(
        input_ptr, input_gate_ptr, source, inner, valid, x, width, first >= PADDING, alpha_, BEFORE, ACC
    )
    shift = tl.zeros((LINES, COLS), ACC)
    total = tl.zeros((LINES, COLS), ACC)
    squares = tl.zeros((LINES, COLS), ACC)
    for row in range(first, end):
        source += width * inner
        present = row - PADDING + 1 < height
        below = _neighbours(input_ptr, input_gate_ptr, source, inner, valid, x, width, present, alpha_, BEFORE, ACC)
        y = (above + below) * scale_
        above = below
        if output_gate_ptr is not None:
            y *= slope(tl.load(output_gate_ptr + target, mask=valid).to(ACC), alpha_, ACT)
        if bias_ptr is not None:
            y += bias
        if residual_ptr is not None:
            y += tl.load(residual_ptr + target, mask=valid).to(ACC)
        y = y.to(OUT)
        tl.store(output_ptr + target, y, mask=valid)
        if partial_ptr is not None:
            shift, total, squares = add_row(shift, total, squares, y.to(ACC), row == first)
        target += out_width * inner
    if partial_ptr is not None:
        store_block(
            partial_ptr, partials, channels, line, column, block, lines, columns, tl.cdiv(rows, steps),
            (end - first).to(ACC), shift, total, squares, CHANNELS_LAST, COLS,
        )  # fmt: skip


def box(
    input: Tensor,
    padding: int,
    scale: float = 1.0,
    act: str = "linear",
    alpha: float = 0.0,
    input_gate: Tensor | None = None,
    output_gate: Tensor | None = None,
    bias: Tensor | None = None,
    residual: Tensor | None = None,
    statistics: Tensor | None = None,
) -> Tensor:
    """Scale · Box(act(input)) with what the kernel fuses before and after; writes `statistics` where given."""
    n, c, height, width = input.shape
    layout = image_format(input)
    input = input.contiguous(memory_format=layout)
    rows, out_width = height - 1 + 2 * padding, width - 1 + 2 * padding
    output = torch.empty((n, c, rows, out_width), dtype=input.dtype, device=input.device, memory_format=layout)
    if output.numel() == 0:
        if statistics is not None:
            statistics.zero_()
        return output
    input_gate, output_gate, residual = (
        None if x is None else x.contiguous(memory_format=layout) for x in (input_gate, output_gate, residual)
    )
    # With a residual too the kernel needs more registers than sm_80 and sm_100 have for it: a pass of their own.
    gathers = statistics is not None and residual is None
    cut = plan(input, rows, out_width, reduces=gathers)
    partial = empty_partials(output, cut.partials) if gathers else None
    with torch.cuda.device_of(input):
        box_filter2d_kernel[cut.grid](
            input, input_gate, output_gate, None if bias is None else bias.contiguous(), residual, output, partial,
            *cut.extents(), height, width, out_width, cut.partials, alpha, scale, ACT=act, PADDING=padding,
            **cut.blocks(),
        )  # fmt: skip
        if partial is not None and statistics is not None:
            merge(partial, statistics)
    if statistics is not None and not gathers:
        statistics.copy_(moments(output))
    return output


def box_filter2d(input: Tensor, gate: Tensor | None, act: str, alpha: float, padding: int, scale: float) -> Tensor:
    return box(input, padding, scale, act, alpha, input_gate=gate)


def box_filter2d_backward(
    grad_output: Tensor, gate: Tensor | None, act: str, alpha: float, padding: int, scale: float
) -> Tensor:
    return box(grad_output, 1 - padding, scale, act, alpha, output_gate=gate)
