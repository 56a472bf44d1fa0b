"""The order in which a run sees its data: a pure function of the seed and of one integer."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["Sampler"]


class Sampler:
    """Draws batches from an endless row of seeded permutations, cut between the processes.

    All processes walk the same row and each takes its own part of every global batch, so that within an epoch no image
    is drawn twice, whatever the number of processes. A batch may span two epochs: none is short and no image is left
    out. The state is ``position``, the number of images that all processes have drawn together.

    Parameters
    ----------
    length : int
        Images in the data set.
    batch_size : int
        Images one process draws at a time.
    seed : int
        Decides every permutation.
    rank, world_size : int
        This process and the number of processes.
    """

    def __init__(self, length: int, batch_size: int, seed: int, rank: int = 0, world_size: int = 1) -> None:
        self.length = length
        self.batch_size = batch_size
        self.seed = seed
        self.rank = rank
        self.world_size = world_size
        self.position = 0
        self._epoch = -1
        self._order = torch.empty(0, dtype=torch.long)

    def _permutation(self, epoch: int) -> Tensor:
        if epoch != self._epoch:
            # A multiplier far above any number of epochs keeps the streams of neighbouring seeds apart.
            generator = torch.Generator().manual_seed(self.seed * 1_000_003 + epoch)
            self._order, self._epoch = torch.randperm(self.length, generator=generator), epoch
        return self._order

    def next(self) -> Tensor:
        """Indices of this process's next batch, int64 [batch_size]."""
        start = self.position + self.rank * self.batch_size
        end = start + self.batch_size
        parts = []
        while start < end:
            epoch, offset = divmod(start, self.length)
            part = self._permutation(epoch)[offset : offset + end - start]
            parts.append(part)
            start += len(part)
        self.position += self.batch_size * self.world_size
        return torch.cat(parts)
