"""The order of the data: every image once an epoch, no image twice between processes, position is the whole state."""

from __future__ import annotations

import pytest
import torch

from fastgan.data import Sampler


@pytest.mark.parametrize(("length", "batch", "world"), [(12, 3, 1), (12, 2, 2), (10, 3, 1), (7, 4, 3), (3, 8, 1)])
def test_processes_share_epochs_without_doubles(length: int, batch: int, world: int) -> None:
    samplers = [Sampler(length, batch, seed=5, rank=rank, world_size=world) for rank in range(world)]
    row = torch.cat([sampler.next() for _ in range(6) for sampler in samplers])
    assert all(len(part) == length for part in row.split(length)[:-1])
    for epoch in row.split(length):
        assert len(set(epoch.tolist())) == len(epoch)
    if len(row) >= 2 * length and length > 6:
        assert not torch.equal(row[:length], row[length : 2 * length])


def test_position_is_the_state() -> None:
    first = Sampler(10, 4, seed=1)
    for _ in range(3):
        first.next()
    second = Sampler(10, 4, seed=1)
    second.position = first.position
    for _ in range(5):
        assert torch.equal(first.next(), second.next())


def test_seeds_differ() -> None:
    assert not torch.equal(Sampler(50, 50, seed=1).next(), Sampler(50, 50, seed=2).next())
