"""How Triton kernels with a number for each sample share a tensor [samples, length] among programs.

A program has a piece of one sample: what belongs to the sample is one number for it, and no element needs a division.
"""

# No `from __future__ import annotations` where kernels live: Triton reads their annotations.
# mypy: disable-error-code=no-untyped-def
from typing import NamedTuple

import torch
from torch import Tensor

from fastgan.ops.samples import extents
from fastgan.ops.triton_support import tl, triton

__all__ = ["Plan", "piece_of", "plan", "scalar"]

#: (elements of the tensor below, of a block): one to four 16-byte loads a thread, programs for every multiprocessor.
_BLOCKS = ((1 << 17, 512), (1 << 19, 1024), (1 << 62, 2048))


@triton.jit
def scalar(value, DTYPE: tl.constexpr):
    """A number of the kernel's arithmetic."""
    return tl.full((), value, DTYPE)


@triton.jit
def piece_of(length, pieces, steps, BLOCK: tl.constexpr):
    """The program's sample, its piece of it, offsets of the first block [BLOCK], and what is left of the sample."""
    sample = tl.program_id(0) // pieces
    piece = tl.program_id(0) % pieces
    # One tensor may have more than 2**31 elements: what is the same for all elements is kept in 64 bits.
    first = piece.to(tl.int64) * steps * BLOCK
    offsets = sample.to(tl.int64) * length + first + tl.arange(0, BLOCK)
    return sample, piece, offsets, length - first


class Plan(NamedTuple):
    """How samples are cut into blocks: by shape and dtype alone, so that results do not depend on the device."""

    samples: int
    length: int
    steps: int  # blocks that a program goes through
    block: int

    @property
    def pieces(self) -> int:
        """Programs of each sample."""
        return triton.cdiv(self.length, self.steps * self.block)

    @property
    def grid(self) -> tuple[int]:
        """Launch grid: axis 0, which alone may exceed 65535."""
        return (self.samples * self.pieces,)


def plan(x: Tensor, programs: int | None = None) -> Plan:
    """Cut `x`, of which no sample is empty, into blocks, or into so many longer pieces where `programs` are enough."""
    samples, length = extents(x)
    block = next(size for below, size in _BLOCKS if x.numel() < below)
    if x.dtype == torch.float64:
        block //= 2
    block = min(block, triton.next_power_of_2(length))
    if programs is None:
        return Plan(samples, length, 1, block)
    blocks = triton.cdiv(length, block)
    return Plan(samples, length, triton.cdiv(blocks, min(blocks, triton.cdiv(programs, samples))), block)
