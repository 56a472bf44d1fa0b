"""gate_by_bits and sign_bits in Triton, for NVIDIA and AMD: a row of a block is a byte and its eight elements."""

# No `from __future__ import annotations` where kernels live: Triton reads their annotations.
# mypy: disable-error-code=no-untyped-def
# ruff: noqa: SIM300
import torch
from torch import Tensor

from fastgan.ops.gate_by_bits.order import ordered
from fastgan.ops.triton_samples import scalar
from fastgan.ops.triton_support import tl, triton, unsupported_reason

__all__ = ["gate_by_bits", "sign_bits", "unsupported_reason"]

#: (elements of the tensor below, bytes of a block): one to four 16-byte loads a thread.
_BLOCKS = ((1 << 17, 64), (1 << 19, 128), (1 << 62, 256))


@triton.jit
def _block(total, BYTES: tl.constexpr):
    """The program's bytes [BYTES], offsets of their elements [BYTES, 8], and bits' places [1, 8]."""
    # One tensor may have more than 2**31 elements.
    byte = tl.program_id(0).to(tl.int64) * BYTES + tl.arange(0, BYTES)
    place = tl.arange(0, 8)[None, :]
    return byte, byte[:, None] * 8 + place, place


@triton.jit
def sign_bits_kernel(
    input_ptr,  # [total]
    bits_ptr,  # [ceil(total / 8)]
    total,
    BYTES: tl.constexpr,
):
    IN: tl.constexpr = input_ptr.dtype.element_ty
    ACC: tl.constexpr = tl.float64 if IN == tl.float64 else tl.float32
    byte, offsets, place = _block(total, BYTES)
    x = tl.load(input_ptr + offsets, mask=offsets < total, other=0.0).to(ACC)
    bits = tl.sum((x > 0).to(tl.int32) << place, 1)
    tl.store(bits_ptr + byte, bits.to(tl.uint8), mask=byte * 8 < total)


@triton.jit
def gate_by_bits_kernel(
    input_ptr,  # [total]
    bits_ptr,  # [ceil(total / 8)]
    output_ptr,  # [total]
    total,
    above: tl.float64,  # the slopes
    below: tl.float64,
    ZERO: tl.constexpr,  # the slope below is 0: nothing of the input is left, not even infinity's NaN
    BYTES: tl.constexpr,
):
    OUT: tl.constexpr = output_ptr.dtype.element_ty
    ACC: tl.constexpr = tl.float64 if OUT == tl.float64 else tl.float32
    byte, offsets, place = _block(total, BYTES)
    mask = offsets < total
    bits = tl.load(bits_ptr + byte, mask=byte * 8 < total, other=0).to(tl.int32)
    x = tl.load(input_ptr + offsets, mask=mask).to(ACC)
    y_below = tl.zeros((BYTES, 8), ACC) if ZERO else x * scalar(below, ACC)
    y = tl.where((bits[:, None] >> place & 1) != 0, x * scalar(above, ACC), y_below)
    tl.store(output_ptr + offsets, y.to(OUT), mask=mask)


def _plan(x: Tensor) -> tuple[tuple[int], dict[str, int]]:
    """The launch grid and the kernels' compile-time arguments."""
    block = next(size for below, size in _BLOCKS if x.numel() < below)
    if x.dtype == torch.float64:
        block //= 2
    return (triton.cdiv(x.numel(), 8 * block),), {"BYTES": block, "num_warps": 4}


def sign_bits(input: Tensor, channels_last: bool) -> Tensor:
    x = ordered(input, channels_last)
    bits = x.new_empty((x.numel() + 7) // 8, dtype=torch.uint8)
    if x.numel() > 0:
        grid, blocks = _plan(x)
        with torch.cuda.device_of(x):
            sign_bits_kernel[grid](x, bits, x.numel(), **blocks)
    return bits


def gate_by_bits(input: Tensor, bits: Tensor, alpha: float, gain: float, channels_last: bool) -> Tensor:
    x, bits = ordered(input, channels_last), bits.contiguous()
    output = torch.empty_like(x)
    if x.numel() > 0:
        grid, blocks = _plan(x)
        with torch.cuda.device_of(x):
            gate_by_bits_kernel[grid](x, bits, output, x.numel(), gain, gain * alpha, ZERO=alpha == 0, **blocks)
    return output
