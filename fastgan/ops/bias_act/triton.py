"""bias_act in Triton, for NVIDIA and AMD.

A dense tensor of any stride order is, in memory, an array [outer, channels, inner]. The kernels see it as
a matrix [outer, channels * inner]; a program takes a block of its columns and some of its rows. A block
lies within one channel (NCHW), or its columns are the channels (channels_last, where inner = 1), so no
element needs a division to find its channel. Summing a block gives the bias's gradient in the same pass:
partial sums, added up in fixed order by a second, small kernel. No atomics.
"""

# No `from __future__ import annotations` where kernels live: Triton reads their annotations. It also needs the
# `else` after a `return`, to know that what follows is not reached.
# mypy: disable-error-code=no-untyped-def
# ruff: noqa: RET505, SIM300
import math
from typing import Any, NamedTuple

import torch
from torch import Tensor

from fastgan.ops.bias_act.activations import saves_input
from fastgan.ops.bias_act.triton_activations import curvature, slope, value
from fastgan.ops.layout import channel_extents, dense, match_layout
from fastgan.ops.triton_support import tl, triton, unsupported_reason

__all__ = ["bias_act", "bias_act_backward", "bias_act_double_backward", "unsupported_reason"]


@triton.jit
def _block(channels, inner, row_stride, steps, CHANNELS_LAST: tl.constexpr, ROWS: tl.constexpr, COLS: tl.constexpr):
    """The program's offsets [ROWS, COLS], rows [ROWS, 1], valid columns [1, COLS], channel, and row of partial sums."""
    r, c = tl.arange(0, ROWS)[:, None], tl.arange(0, COLS)[None, :]
    if CHANNELS_LAST:
        across = tl.cdiv(channels, COLS)
        down = tl.program_id(0) // across
        first = tl.program_id(0) % across * COLS
        start = first
        channel = first + c
        valid = channel < channels
        partial = down
    else:
        per_channel = tl.cdiv(inner, COLS)
        across = channels * per_channel
        down = tl.program_id(0) // across
        channel = tl.program_id(0) % across // per_channel
        piece = tl.program_id(0) % per_channel
        start = channel.to(tl.int64) * inner + piece * COLS
        valid = c < inner - piece * COLS
        partial = down * per_channel + piece
    # One tensor may have more than 2**31 elements: what is the same for all elements is kept in 64 bits.
    rows = down.to(tl.int64) * steps * ROWS + r
    return start + rows * row_stride + c, rows, valid, channel, partial


@triton.jit
def _scalar(value, DTYPE: tl.constexpr):
    return tl.full((), value, DTYPE)


@triton.jit
def _bias(bias_ptr, channel, valid, ACC: tl.constexpr, CHANNELS_LAST: tl.constexpr):
    return (tl.load(bias_ptr + channel, mask=valid) if CHANNELS_LAST else tl.load(bias_ptr + channel)).to(ACC)


@triton.jit
def _point(saved, bias, alpha, gain, inverse_gain, ACT: tl.constexpr, FROM_INPUT: tl.constexpr, OUT: tl.constexpr):
    """Where derivatives are taken, z = input + bias or a = output / gain, and the output that the clamp saw."""
    if FROM_INPUT:
        z = saved + bias
        return z, (value(z, alpha, ACT) * gain).to(OUT).to(saved.dtype)
    else:
        return saved * inverse_gain, saved


@triton.jit(do_not_specialize=["outer"])
def bias_act_fwd_kernel(
    input_ptr,  # [outer, channels, inner]
    bias_ptr,  # [channels], or None
    output_ptr,  # [outer, channels, inner]
    outer,
    channels,
    inner,
    row_stride,  # channels * inner
    alpha: tl.float64,
    gain: tl.float64,
    clamp: tl.float64,  # NaN, which compares false, for none
    ACT: tl.constexpr,
    CHANNELS_LAST: tl.constexpr,
    BLOCK_ROWS: tl.constexpr,
    BLOCK_COLS: tl.constexpr,
):
    OUT: tl.constexpr = output_ptr.dtype.element_ty
    ACC: tl.constexpr = tl.float64 if OUT == tl.float64 else tl.float32
    offsets, rows, valid, channel, _ = _block(channels, inner, row_stride, 1, CHANNELS_LAST, BLOCK_ROWS, BLOCK_COLS)
    mask = (rows < outer) & valid
    z = tl.load(input_ptr + offsets, mask=mask).to(ACC)
    if bias_ptr is not None:
        z += _bias(bias_ptr, channel, valid, ACC, CHANNELS_LAST)
    y = value(z, _scalar(alpha, ACC), ACT) * _scalar(gain, ACC)
    bound = _scalar(clamp, ACC).to(OUT).to(ACC)
    y = tl.where(tl.abs(y) >= bound, tl.where(y < 0, -bound, bound), y)  # keeps NaN
    tl.store(output_ptr + offsets, y.to(OUT), mask=mask)


@triton.jit(do_not_specialize=["outer", "steps"])
def bias_act_bwd_kernel(
    grad_output_ptr,  # [outer, channels, inner]
    saved_ptr,  # [outer, channels, inner]: the output, or the input if FROM_INPUT
    bias_ptr,  # [channels] if FROM_INPUT and there is one, or None
    grad_input_ptr,  # [outer, channels, inner]
    partial_ptr,  # [partials, channels] of the accumulating dtype, or None
    outer,
    channels,
    inner,
    row_stride,  # channels * inner
    steps,  # blocks of rows that a program goes through
    alpha: tl.float64,
    gain: tl.float64,
    inverse_gain: tl.float64,
    clamp: tl.float64,  # NaN, which compares false, for none
    ACT: tl.constexpr,
    FROM_INPUT: tl.constexpr,
    CHANNELS_LAST: tl.constexpr,
    BLOCK_ROWS: tl.constexpr,
    BLOCK_COLS: tl.constexpr,
):
    OUT: tl.constexpr = grad_input_ptr.dtype.element_ty
    ACC: tl.constexpr = tl.float64 if OUT == tl.float64 else tl.float32
    alpha_ = _scalar(alpha, ACC)
    gain_ = _scalar(gain, ACC)
    bound = _scalar(clamp, ACC).to(OUT).to(ACC)
    offsets, rows, valid, channel, partial = _block(
        channels, inner, row_stride, steps, CHANNELS_LAST, BLOCK_ROWS, BLOCK_COLS
    )
    bias = _scalar(0.0, ACC)
    if bias_ptr is not None:
        bias = _bias(bias_ptr, channel, valid, ACC, CHANNELS_LAST)
    total = tl.zeros((BLOCK_ROWS, BLOCK_COLS), ACC)
    for _ in range(steps):
        mask = (rows < outer) & valid
        saved = tl.load(saved_ptr + offsets, mask=mask).to(ACC)
        grad = tl.load(grad_output_ptr + offsets, mask=mask).to(ACC)
        point, output = _point(saved, bias, alpha_, gain_, _scalar(inverse_gain, ACC), ACT, FROM_INPUT, OUT)
        grad = tl.where(tl.abs(output) >= bound, 0.0, grad * gain_ * slope(point, alpha_, ACT))
        tl.store(grad_input_ptr + offsets, grad.to(OUT), mask=mask)
        if partial_ptr is not None:
            total += tl.where(mask, grad, 0.0)
        rows += BLOCK_ROWS
        offsets += tl.cast(row_stride, tl.int64) * BLOCK_ROWS
    if partial_ptr is not None:
        target = partial_ptr + partial.to(tl.int64) * channels + channel
        if CHANNELS_LAST:
            tl.store(target, tl.sum(total, 0, keep_dims=True), mask=valid)
        else:
            tl.store(target, tl.sum(total))


@triton.jit(do_not_specialize=["partials"])
def bias_act_bias_grad_kernel(
    partial_ptr,  # [partials, channels] of the accumulating dtype
    grad_bias_ptr,  # [channels]
    partials,
    channels,
    BLOCK_ROWS: tl.constexpr,
    BLOCK_COLS: tl.constexpr,
):
    rows = tl.arange(0, BLOCK_ROWS)[:, None]
    channel = tl.program_id(0) * BLOCK_COLS + tl.arange(0, BLOCK_COLS)[None, :]
    total = tl.zeros((BLOCK_ROWS, BLOCK_COLS), partial_ptr.dtype.element_ty)
    for first in range(0, partials, BLOCK_ROWS):
        mask = (first + rows < partials) & (channel < channels)
        total += tl.load(partial_ptr + (first + rows) * channels + channel, mask=mask, other=0.0)
    total = tl.sum(total, 0, keep_dims=True)
    tl.store(grad_bias_ptr + channel, total.to(grad_bias_ptr.dtype.element_ty), mask=channel < channels)


@triton.jit(do_not_specialize=["outer"])
def bias_act_double_bwd_kernel(
    grad_grad_input_ptr,  # [outer, channels, inner]
    grad_output_ptr,  # [outer, channels, inner]
    saved_ptr,  # [outer, channels, inner]: the output, or the input if FROM_INPUT
    bias_ptr,  # [channels] if FROM_INPUT and there is one, or None
    grad_grad_output_ptr,  # [outer, channels, inner]
    grad_saved_ptr,  # [outer, channels, inner]
    outer,
    channels,
    inner,
    row_stride,  # channels * inner
    alpha: tl.float64,
    gain: tl.float64,
    inverse_gain: tl.float64,
    clamp: tl.float64,  # NaN, which compares false, for none
    ACT: tl.constexpr,
    FROM_INPUT: tl.constexpr,
    CHANNELS_LAST: tl.constexpr,
    BLOCK_ROWS: tl.constexpr,
    BLOCK_COLS: tl.constexpr,
):
    OUT: tl.constexpr = grad_saved_ptr.dtype.element_ty
    ACC: tl.constexpr = tl.float64 if OUT == tl.float64 else tl.float32
    alpha_ = _scalar(alpha, ACC)
    gain_ = _scalar(gain, ACC)
    bound = _scalar(clamp, ACC).to(OUT).to(ACC)
    offsets, rows, valid, channel, _ = _block(channels, inner, row_stride, 1, CHANNELS_LAST, BLOCK_ROWS, BLOCK_COLS)
    mask = (rows < outer) & valid
    bias = _scalar(0.0, ACC)
    if bias_ptr is not None:
        bias = _bias(bias_ptr, channel, valid, ACC, CHANNELS_LAST)
    saved = tl.load(saved_ptr + offsets, mask=mask).to(ACC)
    cotangent = tl.load(grad_grad_input_ptr + offsets, mask=mask).to(ACC)
    grad = tl.load(grad_output_ptr + offsets, mask=mask).to(ACC)
    point, output = _point(saved, bias, alpha_, gain_, _scalar(inverse_gain, ACC), ACT, FROM_INPUT, OUT)
    grad_saved = cotangent * grad * curvature(point, ACT)
    if FROM_INPUT:  # with respect to the output the gain cancels
        grad_saved *= gain_
    outside = tl.abs(output) >= bound
    grad_grad_output = tl.where(outside, 0.0, cotangent * gain_ * slope(point, alpha_, ACT))
    tl.store(grad_grad_output_ptr + offsets, grad_grad_output.to(OUT), mask=mask)
    tl.store(grad_saved_ptr + offsets, tl.where(outside, 0.0, grad_saved).to(OUT), mask=mask)


class Plan(NamedTuple):
    """How a tensor is cut into blocks: by shape and dtype alone, so that results do not depend on the device."""

    outer: int
    channels: int
    inner: int
    steps: int
    rows: int
    cols: int

    @property
    def across(self) -> int:
        """Programs side by side."""
        if self.inner == 1:
            return triton.cdiv(self.channels, self.cols)
        return self.channels * triton.cdiv(self.inner, self.cols)

    @property
    def down(self) -> int:
        """Programs below each other."""
        return triton.cdiv(self.outer, self.rows * self.steps)

    @property
    def grid(self) -> tuple[int]:
        """Launch grid: axis 0, which alone may exceed 65535."""
        return (self.across * self.down,)

    @property
    def partials(self) -> int:
        """Partial sums of each channel."""
        return self.down * (1 if self.inner == 1 else triton.cdiv(self.inner, self.cols))

    def extents(self) -> tuple[int, int, int, int]:
        """The kernels' size arguments."""
        return self.outer, self.channels, self.inner, self.channels * self.inner

    def blocks(self) -> dict[str, Any]:
        """The kernels' compile-time block arguments, and warps."""
        return {
            "CHANNELS_LAST": self.inner == 1,
            "BLOCK_ROWS": self.rows,
            "BLOCK_COLS": self.cols,
            "num_warps": 4,
        }


#: (elements of the tensor below, of a block): one to four 16-byte loads a thread, programs for every multiprocessor.
_BLOCKS = ((1 << 17, 512), (1 << 19, 1024), (1 << 62, 2048))
#: Programs that a pass with a bias gradient is shared among: fewer write fewer partial sums.
_REDUCING_PROGRAMS = 512


def plan(x: Tensor, dim: int, by_channel: bool, reduces: bool = False) -> Plan:
    """Cut the dense tensor `x`; `by_channel` where a block must know its channel, `reduces` where it sums over it."""
    outer, channels, inner = channel_extents(x, dim) if by_channel else (1, 1, x.numel())
    block = next(size for below, size in _BLOCKS if x.numel() < below)
    if x.dtype == torch.float64:
        block //= 2
    columns = channels if inner == 1 else inner
    # The widest row of a block among those that leave the fewest idle lanes beyond the last column.
    widest = min(block, triton.next_power_of_2(columns))
    widths = [1 << i for i in range(min(widest, 64).bit_length() - 1, widest.bit_length())]
    cols = min(widths, key=lambda width: (triton.cdiv(columns, width) * width, -width))
    rows = min(block // cols, triton.next_power_of_2(outer))
    whole = Plan(outer, channels, inner, 1, rows, cols)
    steps = min(max(whole.grid[0] // _REDUCING_PROGRAMS, 1), whole.down) if reduces else 1
    return whole._replace(steps=steps)


def bias_act(
    input: Tensor, bias: Tensor | None, act: str, alpha: float, gain: float, clamp: float | None, dim: int
) -> Tensor:
    input = dense(input)
    output = torch.empty_like(input)
    if input.numel() == 0:
        return output
    cut = plan(input, dim, by_channel=bias is not None)
    with torch.cuda.device_of(input):
        bias_act_fwd_kernel[cut.grid](
            input,
            None if bias is None else bias.contiguous(),
            output,
            *cut.extents(),
            alpha,
            gain,
            math.nan if clamp is None else clamp,
            ACT=act,
            **cut.blocks(),
        )
    return output


def bias_act_backward(
    grad_output: Tensor,
    saved: Tensor,
    bias: Tensor | None,
    act: str,
    alpha: float,
    gain: float,
    clamp: float | None,
    dim: int,
    bias_grad: bool,
) -> tuple[Tensor, Tensor]:
    saved = dense(saved)
    grad_output = match_layout(grad_output, saved)
    grad_input = torch.empty_like(saved)
    if saved.numel() == 0:
        return grad_input, saved.new_zeros(saved.shape[dim] if bias_grad else 0)
    from_input = saves_input(act, alpha)
    bias = bias.contiguous() if bias is not None and from_input else None
    cut = plan(saved, dim, by_channel=bias is not None or bias_grad, reduces=bias_grad)
    grad_bias = saved.new_empty(cut.channels if bias_grad else 0)
    partial = None
    if bias_grad:
        accumulator = torch.float64 if saved.dtype == torch.float64 else torch.float32
        partial = saved.new_empty(cut.partials, cut.channels, dtype=accumulator)
    with torch.cuda.device_of(saved):
        bias_act_bwd_kernel[cut.grid](
            grad_output,
            saved,
            bias,
            grad_input,
            partial,
            *cut.extents(),
            cut.steps,
            alpha,
            gain,
            1 / gain if gain else 0.0,
            math.nan if clamp is None else clamp,
            ACT=act,
            FROM_INPUT=from_input,
            **cut.blocks(),
        )
        if partial is not None:
            rows = min(256, triton.next_power_of_2(cut.partials))
            bias_act_bias_grad_kernel[(triton.cdiv(cut.channels, 8),)](
                partial, grad_bias, cut.partials, cut.channels, BLOCK_ROWS=rows, BLOCK_COLS=8, num_warps=4
            )
    return grad_input, grad_bias


def bias_act_double_backward(
    grad_grad_input: Tensor,
    grad_output: Tensor,
    saved: Tensor,
    bias: Tensor | None,
    act: str,
    alpha: float,
    gain: float,
    clamp: float | None,
    dim: int,
) -> tuple[Tensor, Tensor]:
    saved = dense(saved)
    grad_grad_input, grad_output = match_layout(grad_grad_input, saved), match_layout(grad_output, saved)
    grad_grad_output, grad_saved = torch.empty_like(saved), torch.empty_like(saved)
    if saved.numel() == 0:
        return grad_grad_output, grad_saved
    from_input = saves_input(act, alpha)
    bias = bias.contiguous() if bias is not None and from_input else None
    cut = plan(saved, dim, by_channel=bias is not None)
    with torch.cuda.device_of(saved):
        bias_act_double_bwd_kernel[cut.grid](
            grad_grad_input,
            grad_output,
            saved,
            bias,
            grad_grad_output,
            grad_saved,
            *cut.extents(),
            alpha,
            gain,
            1 / gain if gain else 0.0,
            math.nan if clamp is None else clamp,
            ACT=act,
            FROM_INPUT=from_input,
            **cut.blocks(),
        )
    return grad_grad_output, grad_saved
