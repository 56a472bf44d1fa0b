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
    decay : float
        Weight of the past a step, in [0, 1). The first steps use ``(1 + step) / (10 + step)`` where that is less, so
        that the random start is forgotten soon.
    start : int, default: 0
        Updates in which the copy is the module itself, before the average begins.
    """

    def __init__(self, module: nn.Module, decay: float, start: int = 0) -> None:
        self.module = copy.deepcopy(module).requires_grad_(False).eval()
        self.decay = decay
        self.start = start

    @torch.no_grad()
    def update(self, module: nn.Module, step: int) -> None:
        """Follow ``module`` after update number ``step`` (from 0)."""
        decay = 0.0 if step < self.start else min(self.decay, (1 + step) / (10 + step))
        for average, parameter in zip(self.module.parameters(), module.parameters(), strict=True):
            average.lerp_(parameter, 1 - decay)
        for copied, buffer in zip(self.module.buffers(), module.buffers(), strict=True):
            copied.copy_(buffer)
