"""What every test runs under: uninitialised memory is NaN, and results do not depend on the order of tests."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch


@pytest.fixture(autouse=True)
def _poisoned_and_seeded() -> Iterator[None]:
    """torch.empty and its like return NaN, so that an element a kernel forgets shows; random numbers are seeded."""
    torch.manual_seed(0)
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.utils.deterministic.fill_uninitialized_memory = True
    assert torch.empty(1).isnan().all(), "torch.empty is not poisoned"
    yield
    torch.use_deterministic_algorithms(False)


@pytest.fixture(autouse=True)
def _small_work_is_not_left_to_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    """The resampling convolutions leave small work to torch; tests are small, and about what is not left to it."""
    from fastgan.ops import resampling_choice

    monkeypatch.setattr(
        resampling_choice, "SMALLEST", dict.fromkeys(resampling_choice.SMALLEST, resampling_choice.Smallest(0, 0))
    )


def pytest_configure(config: pytest.Config) -> None:
    """Record what the tests show where FASTGAN_STATUS names a file for it (tests/status.py)."""
    config.addinivalue_line("markers", "proves(word, backend=, op=, derivatives=): what the status table may say")
    path = os.environ.get("FASTGAN_STATUS")
    if path:
        from tests.status import Recorder

        config.pluginmanager.register(Recorder(Path(path)))
