"""The machine: what it is, and how fast it copies and multiplies."""

from __future__ import annotations

import functools
import os
import platform
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

import fastgan
from fastgan.ops import native
from fastgan.ops.registry import tables

from . import allocator
from .measure import Timer

__all__ = ["OtherWork", "copies", "describe", "gemm_rate"]


def copies(n_bytes: int, device: torch.device) -> tuple[Callable[[], object], Callable[[], object]]:
    """Calls that move `n_bytes`, half read and half written: between existing buffers, and into a fresh one."""
    source = torch.ones(max(1, n_bytes // 8), device=device)
    target = torch.empty_like(source).copy_(source)
    return lambda: target.copy_(source), source.clone


@functools.cache
def gemm_rate(dtype: torch.dtype, device: torch.device) -> float:
    """FLOP/s of a large square product, the best of six."""
    size = 8192 if device.type == "cuda" else 1024
    a = torch.ones(size, size, dtype=dtype, device=device)
    out = torch.empty_like(a)
    timer = Timer(device)
    best = min(timer(lambda: torch.mm(a, a, out=out), 1) for _ in range(6))
    return 2 * size**3 / best


def copy_rate(device: torch.device) -> float:
    """Bytes a second, read and written, of a 256 MiB copy between existing buffers, the best of six."""
    n_bytes = 2**28
    copy, _ = copies(n_bytes, device)
    timer = Timer(device)
    return n_bytes / min(timer(copy, 1) for _ in range(6))


class OtherWork:
    """The cores that other processes keep busy, from the making of this object on.

    A thread that loses its core holds up all that wait at the same barrier, for a scheduler's tick at a
    time: with other work on the machine, small and threaded calls are timed wrong by any factor.
    """

    def __init__(self) -> None:
        self._start = self._now()

    @staticmethod
    def _now() -> tuple[float, float] | None:
        """CPU seconds used by others since boot, and the clock."""
        try:
            ticks = [int(field) for field in Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]
        except OSError:
            return None
        busy = (sum(ticks) - ticks[3] - ticks[4]) / os.sysconf("SC_CLK_TCK")  # all but idle and waiting for disks
        own = os.times()
        return busy - own.user - own.system, time.monotonic()

    def cores(self) -> float | None:
        """Mean number of cores; None where the system cannot tell."""
        end = self._now()
        if self._start is None or end is None:
            return None
        return max(0.0, (end[0] - self._start[0]) / (end[1] - self._start[1]))


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())


def _commit() -> str | None:
    """The checkout's commit, with ``+changes`` where tracked files differ; None outside a checkout."""

    def git(*arguments: str) -> str:
        folder = Path(fastgan.__file__).parent
        return subprocess.run(
            ["git", "-C", folder, *arguments], capture_output=True, text=True, check=True
        ).stdout.strip()

    try:
        # A fastgan installed inside somebody else's checkout is not at that checkout's commit.
        if not git("ls-files", "__init__.py"):
            return None
        return git("rev-parse", "HEAD") + ("+changes" if git("status", "--porcelain", "-uno") else "")
    except (OSError, subprocess.CalledProcessError):
        return None


def describe(device: torch.device) -> dict[str, Any]:
    """What a reader needs to judge the figures, with the yardsticks measured in this process."""
    facts: dict[str, Any] = {
        "device": device.type,
        "cpu": _cpu_model(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "system": platform.platform(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "fastgan": fastgan.__version__,
        "commit": _commit(),
        "isa_level": native.isa_level(),
        # What our sides run on: nothing is forced in a benchmark.
        "backends": {op: table.choose(None, device.type, torch.float32, quiet=True) for op, table in tables().items()},
        "allocator": allocator.describe(),
        "copy_gb_per_s": copy_rate(device) / 1e9,
        "gemm_gflop_per_s": gemm_rate(torch.float32, device) / 1e9,
    }
    if device.type == "cuda":
        facts["gpu"] = torch.cuda.get_device_name(device)
        facts["cuda"] = torch.version.cuda or torch.version.hip
    return facts
