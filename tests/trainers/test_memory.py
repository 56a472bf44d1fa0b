"""A long run needs no more memory than a short one."""

from __future__ import annotations

import gc
from pathlib import Path

import pytest
import torch

from fastgan.trainers.recipe import recipe_names
from fastgan.trainers.report import Reporter

from . import tiny


def _resident() -> int:
    """Bytes of this process in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


def _tensors() -> int:
    gc.collect()
    return sum(issubclass(type(each), torch.Tensor) for each in gc.get_objects())


def test_memory_stays_flat_for_500_steps(tmp_path: Path) -> None:
    """With checkpoints, samples and scalars on the way; the losses wait in a list, but not for ever."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    trainer = tiny.trainer(
        "sngan", n_dis=1, steps=521, log_every=20, checkpoint_every=100, sample_every=100, metric_every=0
    )
    found = []
    step = trainer.update

    def update() -> dict[str, torch.Tensor]:
        losses = step()
        if trainer.step in (21, 121, 221, 321, 421, 521):
            trainer.check_losses()
            found.append((trainer.step, _tensors(), _resident()))
        return losses

    trainer.update = update  # type: ignore[method-assign]
    try:
        with Reporter(tmp_path, 0, 521, trainer.images_per_step, enabled=True) as reporter:
            trainer.run(tmp_path, reporter)
    finally:
        torch.set_num_threads(threads)
    steps, tensors, resident = zip(*found, strict=True)
    assert steps[0] == 21 and steps[-1] == 521
    # The first checkpoint and the first samples leave something behind; a leak would grow by hundreds.
    assert max(tensors) - min(tensors) < 8, found
    # The allocator and TensorBoard's queue breathe; a leak of one feature map a step would be 32 MB.
    assert resident[-1] - resident[0] < 16 << 20, found


@pytest.mark.parametrize("name", recipe_names())
def test_no_recipe_keeps_what_a_step_has_made(name: str) -> None:
    """One tensor kept in each step would be as many as there are steps between the counts."""
    trainer = tiny.trainer(name, steps=100)

    def count(steps: int) -> int:
        for _ in range(steps):
            trainer.update()
        trainer.check_losses()
        return _tensors()

    first = count(3)
    assert count(10) - first < 8
