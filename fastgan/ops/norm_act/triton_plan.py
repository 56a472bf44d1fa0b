"""How norm_act's Triton kernels cut a tensor into tiles."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch

from fastgan.ops.norm_act.steps import View
from fastgan.ops.triton_support import triton

__all__ = ["Plan", "plan"]


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
