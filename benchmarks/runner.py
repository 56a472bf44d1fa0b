"""``fastgan bench``: measure under every allocator setting, then report as a table, JSON and a chart."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import torch
from rich.console import Console

from . import allocator, memory, registry, worker
from .results import CaseResult, Report
from .table import print_table

__all__ = ["run"]

OUT = Path("runs/bench")


def _check(family: str | None, device: str, repeats: int | None, threads: int | None) -> torch.device:
    if device not in ("cpu", "cuda"):
        raise ValueError(f"bench: device must be cpu or cuda, got {device!r}")
    if device == "cuda" and not torch.cuda.is_available():
        raise ValueError(
            "bench: device must be cpu on this machine, where torch finds no CUDA or HIP device, got 'cuda'"
        )
    if importlib.util.find_spec("matplotlib") is None:  # known before minutes of measuring, not after
        raise ValueError('bench: matplotlib is missing; pip install "fastgan[bench]"')
    if repeats is not None and repeats < 1:
        raise ValueError(f"bench: repeats must be at least 1, got {repeats}")
    if threads is not None and threads < 1:
        raise ValueError(f"bench: threads must be at least 1, got {threads}")
    found = torch.device(device)
    registry.cases(family, found)
    return found


def _add_memory(results: list[CaseResult], device: torch.device, threads: int | None) -> None:
    last_modes = {(result["family"], result["case"]): result for result in results}
    for result in last_modes.values():
        sides = [side for side in (result["ours"], result["best_peer"]) if side is not None]
        if result["overhead"] or result["failed"]:
            continue
        peaks = {side: memory.spawn(result["family"], result["case"], side, device, threads) for side in sides}
        result["memory"] = {side: peak for side, peak in peaks.items() if peak is not None}


def _any_failed(reports: dict[str, Report]) -> bool:
    return any(result["failed"] for report in reports.values() for result in report["results"])


def run(
    family: str | None, device: str, quick: bool, out: Path | None, repeats: int | None, threads: int | None = None
) -> int:
    """Run the comparison and report it.

    Parameters
    ----------
    family : str or None
        One family of cases; None runs all.
    device : str
        ``"cpu"`` or ``"cuda"``.
    quick : bool
        Few cases, short runs, no memory figures.
    out : Path, optional
        Folder of the JSON file and the chart, default ``runs/bench``.
    repeats : int, optional
        Rounds of each comparison, instead of as many as fit its time.
    threads : int, optional
        Threads of the measuring processes, instead of torch's choice; the files' names tell it.

    Returns
    -------
    int
        0, or 1 where a case of ours gave a wrong result, or 2 for bad arguments.
    """
    console = Console()
    if not console.is_terminal:
        console = Console(width=150)  # a log has no width; 80 would break every cell
    try:
        on = _check(family, device, repeats, threads)
    except ValueError as error:
        console.print(str(error), style="red", markup=False)
        return 2
    reports = {
        setting: worker.spawn(setting, threads, family, on, quick, repeats) for setting in allocator.settings(on)
    }
    if not quick:
        _add_memory(reports[allocator.DEFAULT]["results"], on, threads)
    out = OUT if out is None else out
    out.mkdir(parents=True, exist_ok=True)
    on_threads = "" if threads is None else f"-{threads}-threads"
    stem = out / f"{family or 'all'}-{device}{on_threads}{'-quick' if quick else ''}"
    stem.with_suffix(".json").write_text(json.dumps(reports, indent=1))
    print_table(reports, console)
    from .chart import draw

    draw(reports, stem.with_suffix(".png"))
    console.print(f"{stem}.json and {stem}.png written", markup=False)
    if _any_failed(reports):
        console.print("a case of ours gave a wrong result: no speed is reported for it", style="bold red")
        return 1
    return 0
