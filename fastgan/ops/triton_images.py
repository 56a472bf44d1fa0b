"""How Triton kernels that work on images share them among programs, in both memory formats.

An image tensor is a set of lines, each of so many rows below each other: in channels_last a line is one column of
pixels of one image and has all channels side by side; in the default format it is one plane and has its pixels side by
side.
A program takes a block [LINES, COLS] of lines and of what is side by side, and walks down some of the rows.
"""

# No `from __future__ import annotations` where kernels live: Triton reads their annotations.
# mypy: disable-error-code=no-untyped-def
from typing import Any, NamedTuple

import torch
from torch import Tensor

from fastgan.ops.layout import image_format
from fastgan.ops.triton_support import tl, triton

__all__ = ["Plan", "block_of", "plan"]

#: (elements of a row of all lines below, of a block): one to two 16-byte loads of half types a thread.
_BLOCKS = ((1 << 16, 512), (1 << 62, 1024))
#: Rows of a program, at least: it reads what is above its first row again.
_STEPS = 4
#: Programs that an image is shared among, at least where it has the rows.
_PROGRAMS = 2048
#: The same where each program writes partial statistics.
_REDUCING_PROGRAMS = 768


@triton.jit
def block_of(lines, columns, rows, steps, LINES: tl.constexpr, COLS: tl.constexpr):
    """The program's lines [LINES, 1], columns [1, COLS], first row, end of its rows, and (line, column, row) block."""
    across, down = tl.cdiv(columns, COLS), tl.cdiv(lines, LINES)
    place = tl.program_id(0)
    along, below, piece = place % across, place // across % down, place // (across * down)
    line = below * LINES + tl.arange(0, LINES)[:, None]
    column = along * COLS + tl.arange(0, COLS)[None, :]
    first = piece * steps
    return line, column, first, tl.minimum(first + steps, rows), (below, along, piece)


class Plan(NamedTuple):
    """How an image is cut into blocks: by shape and dtype alone, so that results do not depend on the device."""

    channels_last: bool
    images: int
    channels: int
    lines: int
    columns: int
    rows: int
    steps: int
    block_lines: int
    block_columns: int

    @property
    def _across(self) -> int:
        return triton.cdiv(self.columns, self.block_columns)

    @property
    def _down(self) -> int:
        return triton.cdiv(self.lines, self.block_lines)

    @property
    def _pieces(self) -> int:
        return triton.cdiv(self.rows, self.steps)

    @property
    def grid(self) -> tuple[int]:
        """Launch grid: axis 0, which alone may exceed 65535."""
        return (self._across * self._down * self._pieces,)

    @property
    def partials(self) -> int:
        """Partial statistics of each channel."""
        return self._pieces * (self._down if self.channels_last else self.images * self._across)

    def extents(self) -> tuple[int, ...]:
        """The kernels' arguments on how the image is shared."""
        return self.lines, self.columns, self.rows, self.steps, self.channels

    def blocks(self) -> dict[str, Any]:
        """The kernels' compile-time block arguments, and warps."""
        return {
            "CHANNELS_LAST": self.channels_last,
            "LINES": self.block_lines,
            "COLS": self.block_columns,
            "num_warps": 4,
        }


def plan(x: Tensor, rows: int, width: int, reduces: bool) -> Plan:
    """Cut images like `x`, of `rows` rows of `width` pixels; `reduces` where programs write partial statistics."""
    n, c = x.shape[:2]
    channels_last = image_format(x) == torch.channels_last
    lines, columns = (n * width, c) if channels_last else (n * c, width)
    block = next(size for below, size in _BLOCKS if lines * columns < below)
    if x.dtype == torch.float64:
        block //= 2
    # The widest block among those that leave the fewest idle lanes beyond the last column.
    widest = min(block, triton.next_power_of_2(columns))
    widths = [1 << i for i in range(min(widest, 64).bit_length() - 1, widest.bit_length())]
    block_columns = min(widths, key=lambda w: (triton.cdiv(columns, w) * w, -w))
    block_lines = min(block // block_columns, triton.next_power_of_2(lines))
    whole = Plan(channels_last, n, c, lines, columns, rows, rows, block_lines, block_columns)
    wanted = _REDUCING_PROGRAMS if reduces else _PROGRAMS
    pieces = min(triton.cdiv(wanted, whole.grid[0]), triton.cdiv(rows, _STEPS))
    return whole._replace(steps=triton.cdiv(rows, pieces))
