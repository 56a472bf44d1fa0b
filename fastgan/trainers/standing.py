"""Standing statistics: batch norm's, taken anew for a generator that is to be sampled from."""

from __future__ import annotations

import copy
import weakref
from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from fastgan.nn import BatchNormAct2d

__all__ = ["StandingStatistics"]


class StandingStatistics:
    """Makes of a generator a copy whose batch norms hold the mean statistics of some batches, not running averages.

    Those lag behind the weights, belong to the generator itself rather than to its moving average, and know nothing of
    truncated noise. The last copy is kept and handed out again while its generator's weights are as they were.

    A. Brock, J. Donahue, K. Simonyan, "Large Scale GAN Training for High Fidelity Natural Image Synthesis", ICLR 2019,
    appendix C.
    """

    def __init__(self) -> None:
        self._of: Callable[[], nn.Module | None] = lambda: None
        self._versions: list[int] = []
        self._copy: nn.Module | None = None

    def __call__(self, generator: nn.Module, batches: Callable[[nn.Module], Iterable[tuple[Tensor, ...]]]) -> nn.Module:
        """Return the copy, in evaluation mode; ``batches(generator)`` are arguments of its forward."""
        versions = [parameter._version for parameter in generator.parameters()]
        if self._copy is None or self._of() is not generator or self._versions != versions:
            self._copy = _with_statistics(generator, batches(generator))
            self._of, self._versions = weakref.ref(generator), versions
        return self._copy


@torch.no_grad()
def _with_statistics(generator: nn.Module, batches: Iterable[tuple[Tensor, ...]]) -> nn.Module:
    copied = copy.deepcopy(generator).eval()
    copied.training = True  # of the module itself, which tells its hooks that these are not samples
    for module in copied.modules():
        if isinstance(module, _BatchNorm):
            module.reset_running_stats()
            module.momentum = None  # the mean over all batches
            module.train()
            if isinstance(module, BatchNormAct2d):
                module.process_group = None  # this process samples alone
    for arguments in batches:
        copied(*arguments)
    return copied.eval()
