"""The comparison as a table for the terminal."""

from __future__ import annotations

import math
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from .case import BACKWARD, FORWARD
from .measure import Spread
from .results import CaseResult, Report

__all__ = ["LOST", "print_table"]

NONE = "-"
#: Of a cost beyond a baseline that is no larger than the noise of both.
LOST = "lost in noise"
#: Other work beyond this is reported: an idle system needs a few hundredths of a core.
DISTURBING_CORES = 0.2
MODE_NAMES = {FORWARD: "fwd", BACKWARD: "fwd+bwd"}


def _duration(seconds: float) -> str:
    return f"{1e3 * seconds:.2f} ms" if abs(seconds) >= 1e-4 else f"{1e6 * seconds:.1f} µs"


def _ratio(ratio: Spread | None) -> Text:
    if ratio is None:
        return Text(NONE)
    if not 0 < ratio["median"] < math.inf:
        return Text(LOST, "yellow")
    style = "green" if ratio["median"] >= 1 else "red"
    return Text(f"{ratio['median']:.2f} [{ratio['min']:.2f}, {ratio['max']:.2f}]", style)


def _yardstick(result: CaseResult) -> str:
    """What bounds the case: the price of a call, the GEMM rate, or the copy bandwidth."""
    if result["overhead"]:
        return NONE if result["overhead_us"] is None else f"{result['overhead_us']:+.1f} µs a call"
    copy, fresh, gemm = result["copy_share"], result["fresh_copy_share"], result["gemm_share"]
    if copy is None or fresh is None or gemm is None:
        return NONE
    if copy["median"] == math.inf:
        return LOST
    if gemm > copy["median"]:
        return f"{gemm:.0%} of GEMM"
    return f"{copy['median']:.0%} of copy\n{fresh['median']:.0%} of fresh"


def _memory(result: CaseResult) -> str:
    if not result["memory"]:
        return NONE
    peaks = [result["memory"].get(name) if name else None for name in (result["ours"], result["best_peer"])]
    return " / ".join(NONE if peak is None else f"{peak / 2**20:.1f}" for peak in peaks)


def _time(result: CaseResult, name: str | None) -> Text:
    seconds = next((side["seconds"] for side in result["sides"] if side["name"] == name), None)
    if name is None or seconds is None:
        return Text(NONE)
    return Text(_duration(seconds["median"]) + "\n").append(name, "dim")


def _row(result: CaseResult) -> list[str | Text]:
    ours = Text("WRONG", "bold red") if result["failed"] else _time(result, result["ours"])
    peer = _time(result, result["best_peer"])
    mode = MODE_NAMES[result["mode"]]
    case = Text(result["case"])
    for name, seconds in (result.get("baseline") or {}).items():
        case.append(f"\nbeyond {_duration(seconds['median'])} {name}", "dim")
    return [case, mode, ours, peer, _ratio(result["ratio"]), _yardstick(result), _memory(result)]


def print_table(reports: dict[str, Report], console: Console) -> None:
    """Print one table an allocator setting, and below it every side that was not counted and why.

    Parameters
    ----------
    reports : dict of allocator setting to Report
    console : rich.console.Console
    """
    for setting, report in reports.items():
        machine = report["machine"]
        table = Table(title=f"{machine.get('gpu', machine['cpu'])}, threads: {machine['threads']}, {setting}")
        for column in ("case", "mode"):
            table.add_column(column)
        for column in ("ours", "best peer", "ratio", "of the machine", "peak MiB"):
            table.add_column(column, justify="right")
        for result in report["results"]:
            table.add_row(*_row(result))
        console.print(table)
        console.print(
            f"copy {machine['copy_gb_per_s']:.1f} GB/s, GEMM {machine['gemm_gflop_per_s']:.0f} GFLOP/s in float32. "
            "ratio: the peer's time over ours, median [min, max]; peak: ours / best peer",
            style="dim",
            markup=False,
            highlight=False,
        )
        _print_costs(report["results"], console)
        _print_disturbed(report["results"], console)
        _print_uncounted(report["results"], console)


def _print_costs(results: Sequence[CaseResult], console: Console) -> None:
    """Every side's cost beyond a baseline, with its spread: it tells how much of the ratio is noise."""
    for result in results:
        if not result.get("baseline"):
            continue
        costs = [
            f"{side['name']} {_duration(cost['median'])} [{_duration(cost['min'])}, {_duration(cost['max'])}]"
            for side in result["sides"]
            if (cost := side["seconds"]) is not None
        ]
        if costs:
            console.print(f"{result['case']}: {'; '.join(costs)}", style="dim", markup=False, highlight=False)


def _print_disturbed(results: Sequence[CaseResult], console: Console) -> None:
    disturbed = [cores for result in results if (cores := result["other_cores"] or 0.0) > DISTURBING_CORES]
    if disturbed:
        console.print(
            f"other processes kept up to {max(disturbed):.1f} cores busy in {len(disturbed)} of {len(results)} rows: "
            "measure again on a quiet machine before you quote them",
            style="yellow",
            highlight=False,
        )


def _print_uncounted(results: Sequence[CaseResult], console: Console) -> None:
    for result in results:
        for side in result["sides"]:
            if side["status"] != "valid":
                line = f"{side['status']}: {side['name']} in {result['case']}, {result['mode']}: {side['reason']}"
                console.print(line, style="bold red" if side["ours"] else "yellow", markup=False, highlight=False)
