"""Peak memory of one side of one case: ``python -m fastgan_bench.memory``, a process for each measurement."""

from __future__ import annotations

import ctypes
import gc
import platform
import subprocess
import sys
from pathlib import Path

import torch

from . import allocator, registry
from .case import Call, Problem

__all__ = ["peak_bytes", "spawn"]


def _status_bytes(field: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith(field + ":"))


def _peak_resident(call: Call) -> int:
    gc.collect()
    if platform.libc_ver()[0] == "glibc":
        # Memory that the warm-up left in the heap would otherwise be used again unseen.
        ctypes.CDLL(None).malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")  # the peak (VmHWM) starts again from here
    before = _status_bytes("VmRSS")
    call()
    return max(0, _status_bytes("VmHWM") - before)


def _peak_cuda(call: Call) -> int:
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    call()
    torch.cuda.synchronize()
    return torch.cuda.max_memory_allocated() - before


def peak_bytes(family: str, case: str, side: str, device: torch.device) -> int:
    """Bytes by which one call, in the case's last mode, raises the peak above what was there before it.

    On the CPU this is resident memory (Linux only), on a GPU what torch's allocator handed out.
    """
    found = registry.find(family, case, device)
    problem = Problem(found, device)
    call = problem.call(next(s for s in found.sides if s.name == side), found.modes[-1])
    del problem
    for _ in range(2):  # compiles, starts threads, fills caches
        call()
    return _peak_cuda(call) if device.type == "cuda" else _peak_resident(call)


def spawn(family: str, case: str, side: str, device: torch.device, threads: int | None) -> int | None:
    """The same in a process of its own with the default allocator; None where the system cannot tell."""
    if device.type == "cpu" and not Path("/proc/self/clear_refs").exists():
        return None
    command = [sys.executable, "-m", __name__, family, case, side, str(device)]
    environment = allocator.environment(allocator.DEFAULT, threads)
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    return int(done.stdout.splitlines()[-1])


if __name__ == "__main__":
    _, family_name, case_name, side_name, device_name = sys.argv
    print(peak_bytes(family_name, case_name, side_name, torch.device(device_name)))
