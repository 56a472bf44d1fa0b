"""Which side of zero a pre-activation was on: all that a rectifier's derivatives need of it, one bit an element."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from fastgan.ops.gate_by_bits import gate_by_bits, sign_bits
from fastgan.ops.registry import current_backend

__all__ = ["Kinks"]

_CHANNELS_LAST = {4: torch.channels_last, 5: torch.channels_last_3d}


class Kinks(NamedTuple):
    """The bits of a tensor in its own memory layout, so that neither they nor what they gate is copied."""

    bits: Tensor
    channels_last: bool
    backend: str | None

    @classmethod
    def of(cls, x: Tensor) -> Kinks:
        """Those of a pre-activation, or of what relu or leaky_relu makes of it."""
        layout, backend = _CHANNELS_LAST.get(x.dim()), current_backend()
        # Where both layouts fit, as with one pixel, either is right.
        last = layout is not None and not x.is_contiguous() and x.is_contiguous(memory_format=layout)
        return cls(sign_bits(x.detach(), last, backend), last, backend)

    def gate(self, x: Tensor, alpha: float, gain: float = 1.0) -> Tensor:
        """`x` times the slope: gain above zero, gain alpha elsewhere."""
        return gate_by_bits(x, self.bits, alpha, gain, self.channels_last, self.backend)
