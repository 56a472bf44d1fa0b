"""The process that measures: ``python -m fastgan_bench.worker``, started by the runner once an allocator setting."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import torch

from . import allocator, machine, registry
from .compare import compare
from .results import Report

__all__ = ["measure", "spawn"]

BUDGET_S, QUICK_BUDGET_S = 3.0, 0.7


def measure(family: str | None, device: torch.device, quick: bool, repeats: int | None) -> Report:
    """Measure the cases in this process; progress goes to stderr."""
    report: Report = {"machine": machine.describe(device), "results": []}
    cases = registry.cases(family, device, quick)
    for i, case in enumerate(cases):
        print(f"[{i + 1}/{len(cases)}] {case.family}: {case.name}", file=sys.stderr, flush=True)
        report["results"] += compare(case, device, QUICK_BUDGET_S if quick else BUDGET_S, repeats)
    return report


def spawn(
    setting: str, threads: int | None, family: str | None, device: torch.device, quick: bool, repeats: int | None
) -> Report:
    """Measure in a process of its own, under an allocator setting, which is only read when a process starts.

    So is the number of threads; None is torch's choice.
    """
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "report.json"
        request = json.dumps({"family": family, "device": str(device), "quick": quick, "repeats": repeats})
        command = [sys.executable, "-m", __name__, request, str(target)]
        # One compile thread: idle or starting compile workers would disturb the timing.
        environment = {**allocator.environment(setting, threads), "TORCHINDUCTOR_COMPILE_THREADS": "1"}
        done = subprocess.run(command, env=environment)
        if done.returncode != 0:
            raise RuntimeError(f"bench: the measuring process ({setting}) ended with code {done.returncode}")
        report: Report = json.loads(target.read_text())
        return report


if __name__ == "__main__":
    arguments = json.loads(sys.argv[1])
    arguments["device"] = torch.device(arguments["device"])
    Path(sys.argv[2]).write_text(json.dumps(measure(**arguments)))
