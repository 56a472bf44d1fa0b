"""The generator's exponential moving average."""

from __future__ import annotations

import copy

import torch
from torch import nn

__all__ = ["Ema"]


class Ema:
    """A copy of a module whose parameters follow as a moving average and whose buffers follow as they are.

    Buffers are state, not weights: an average of spectral norm's unit vectors u and v is no singular vector of
    anything, and batch norm's statistics are averages already.

    Parameters
    ----------
    module : nn.Module
        The module to follow; it is copied.
    """

    def __init__(self, module: nn.Module) -> None:
        self.module = copy.deepcopy(module).requires_grad_(False).eval()

    @torch.no_grad()
    def update(self, module: nn.Module, decay: float) -> None:
        """Follow ``module``; ``decay``, in [0, 1], is the weight of the past."""
        for average, parameter in zip(self.module.parameters(), module.parameters(), strict=True):
            average.lerp_(parameter, 1 - decay)
        for copied, buffer in zip(self.module.buffers(), module.buffers(), strict=True):
            copied.copy_(buffer)
