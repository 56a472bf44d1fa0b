"""How bias_act's Triton backend cuts tensors into blocks: every element once, within the limits of a launch."""

from __future__ import annotations

import math

import pytest
import torch

pytest.importorskip("triton")

from fastgan.ops.bias_act.triton import plan

SHAPES = [(1,), (5, 3), (16, 128, 64, 64), (64, 256, 32, 32), (2, 3, 1089), (7, 513, 7, 7), (3, 65537, 2), (1 << 20, 3)]
HUGE = [(1, 1, 1 << 40), (1 << 33, 1), (1 << 16, 1 << 16), (3, 1 << 17, 128, 128)]


@pytest.mark.parametrize("by_channel", [True, False])
@pytest.mark.parametrize("reduces", [True, False])
@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16], ids=str)
@pytest.mark.parametrize("shape", SHAPES + HUGE, ids=str)
def test_blocks_cover_the_tensor(shape: tuple[int, ...], dtype: torch.dtype, reduces: bool, by_channel: bool) -> None:
    for memory_format in (torch.contiguous_format, torch.channels_last) if len(shape) == 4 else (None,):
        x = torch.empty(shape, dtype=dtype, device="meta")
        x = x if memory_format is None else x.contiguous(memory_format=memory_format)
        cut = plan(x, min(1, len(shape) - 1), by_channel, reduces and by_channel)
        assert cut.outer * cut.channels * cut.inner == math.prod(shape)
        assert cut.down * cut.steps * cut.rows >= cut.outer > (cut.down - 1) * cut.steps * cut.rows
        columns = cut.channels if cut.inner == 1 else cut.inner
        padded = cut.across * cut.cols // (1 if cut.inner == 1 else cut.channels)
        assert columns <= padded < columns + cut.cols
        assert cut.rows * cut.cols <= 2048 and all(n & (n - 1) == 0 for n in (cut.rows, cut.cols))
        assert cut.grid[0] < 1 << 31 and len(cut.grid) == 1
