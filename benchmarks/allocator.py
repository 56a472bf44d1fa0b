"""What a measuring process is started with: the number of threads, and the CPU allocator's settings.

The allocator decides many ratios: both its settings are reported, the library changes neither.

With glibc's defaults every large tensor is mapped when made and unmapped when freed, so each one pays
page faults; raised thresholds keep freed memory for the next tensor.
"""

from __future__ import annotations

import os
import platform
from typing import Any

import torch

__all__ = ["DEFAULT", "RAISED", "describe", "environment", "settings"]

DEFAULT, RAISED = "default malloc", "raised thresholds"
_VARIABLES = ("MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_", "MALLOC_TOP_PAD_", "GLIBC_TUNABLES")
_RAISED = {"MALLOC_MMAP_THRESHOLD_": str(2**36), "MALLOC_TRIM_THRESHOLD_": str(2**36)}


def settings(device: torch.device) -> tuple[str, ...]:
    """The settings worth a report: on a GPU, or without glibc, only the default."""
    raisable = device.type == "cpu" and platform.libc_ver()[0] == "glibc"
    return (DEFAULT, RAISED) if raisable else (DEFAULT,)


def environment(setting: str, threads: int | None = None) -> dict[str, str]:
    """The environment of this process with the allocator set up so, whatever the user had set, and so many threads."""
    kept = {name: value for name, value in os.environ.items() if name not in _VARIABLES}
    limits = {} if threads is None else {"OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)}
    return kept | limits | (_RAISED if setting == RAISED else {})


def _faults_of_fresh_memory() -> float | None:
    """Page faults per page of a 64 MiB tensor that is made after one of twice the size was freed."""
    try:
        import resource
    except ImportError:  # not a Unix
        return None

    def faults() -> int:
        return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

    n_bytes = 2**26
    torch.ones(n_bytes // 2)
    before = faults()
    torch.ones(n_bytes // 4)
    return (faults() - before) / (n_bytes / resource.getpagesize())


def describe() -> dict[str, Any]:
    """The settings in force in this process, and whether freed memory is really used again (0 faults) or not (1)."""
    return {
        **{name: os.environ.get(name) for name in (*_VARIABLES, "LD_PRELOAD")},
        "faults_per_fresh_page": _faults_of_fresh_memory(),
    }
