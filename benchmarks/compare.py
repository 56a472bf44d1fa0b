"""One case: check every side, time the valid ones in turn, relate them to each other and to the machine."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

from .case import FORWARD, Call, Case, Problem, Side
from .check import disagreement
from .machine import OtherWork, copies, gemm_rate
from .measure import Timer, beyond, interleave, ratios, spread
from .results import CaseResult, SideResult

__all__ = ["check_side", "compare"]

COPY, FRESH_COPY = "copy", "copy into fresh memory"
#: A difference of long times needs more rounds than a time.
BASELINE_BUDGET = 10


def check_side(problem: Problem, side: Side, mode: str) -> tuple[SideResult, Call | None]:
    """Run a side once and compare it with the float64 result; the call comes back only where it is right."""
    result: SideResult = {
        "name": side.name, "ours": side in problem.case.ours, "status": "valid",
        "reason": None, "deviation": None, "seconds": None, "ratio": None,
    }  # fmt: skip
    try:
        call = problem.call(side, mode)
        deviation, reason = disagreement(call(), problem.expected(mode), problem.case.dtype, problem.errors())
    except Exception as error:  # a peer may fail in any way at all, and is then reported as failed
        first_line = (str(error).strip().splitlines() or [""])[0]
        result["status"], result["reason"] = "failed", f"{type(error).__name__}: {first_line}"
        return result, None
    result["deviation"] = deviation
    if reason is not None:
        result["status"], result["reason"] = "wrong", reason
        return result, None
    return result, call


def _baseline(problem: Problem, baseline: Side, mode: str) -> Call:
    """The baseline's call, once its outputs are known to be those of the sides; it has other gradients."""
    call, outputs = problem.call(baseline, mode), problem.expected(FORWARD)
    _, reason = disagreement(call()[: len(outputs)], outputs, problem.case.dtype)
    if reason is not None:
        raise RuntimeError(f"bench: {baseline.name} of {problem.case.name} is wrong: {reason}")
    return call


def _fastest(sides: Sequence[SideResult], ours: bool) -> SideResult | None:
    timed = [(side["seconds"]["median"], i) for i, side in enumerate(sides) if side["seconds"] and side["ours"] == ours]
    return sides[min(timed)[1]] if timed else None


def _compare_mode(problem: Problem, mode: str, budget_s: float, repeats: int | None) -> CaseResult:
    case, device = problem.case, problem.device
    sides: list[SideResult] = []
    calls: dict[str, Callable[[], object]] = {}
    baselines: dict[str, str] = {}
    for side in case.sides:
        result, call = check_side(problem, side, mode)
        sides.append(result)
        if call is None:
            continue
        calls[side.name] = call
        baseline = case.baseline_of(side)
        if baseline is not None:
            baselines[side.name] = baseline.name
            if baseline.name not in calls:
                calls[baseline.name] = _baseline(problem, baseline, mode)
    report: CaseResult = {
        "family": case.family, "case": case.name, "mode": mode,
        "workload": {**case.workload, "threads": torch.get_num_threads()}, "overhead": case.overhead,
        "failed": any(s["ours"] and s["status"] != "valid" for s in sides),
        "sides": sides, "ours": None, "best_peer": None, "ratio": None, "overhead_us": None,
        "bytes": case.bytes[mode], "flops": case.flops[mode],
        "copy_share": None, "fresh_copy_share": None, "gemm_share": None, "other_cores": None, "memory": None,
        "baseline": None,
    }  # fmt: skip
    if report["failed"]:
        return report
    copy, fresh_copy = copies(case.bytes[mode], device)
    calls.update({COPY: copy, FRESH_COPY: fresh_copy})
    others = OtherWork()
    seconds = interleave(calls, Timer(device), budget_s * (BASELINE_BUDGET if baselines else 1), repeats)
    report["other_cores"] = others.cores()
    if baselines:
        report["baseline"] = {name: spread(seconds[name]) for name in dict.fromkeys(baselines.values())}
        seconds |= {name: beyond(seconds[name], seconds[baseline]) for name, baseline in baselines.items()}
    for result in sides:
        if result["status"] == "valid":
            result["seconds"] = spread(seconds[result["name"]])
    ours, peer = _fastest(sides, True), _fastest(sides, False)
    assert ours is not None and ours["seconds"] is not None
    ours_seconds = seconds[ours["name"]]
    for result in sides:
        if result["status"] == "valid":
            result["ratio"] = ratios(seconds[result["name"]], ours_seconds)
    report["ours"] = ours["name"]
    report["copy_share"] = ratios(seconds[COPY], ours_seconds)
    report["fresh_copy_share"] = ratios(seconds[FRESH_COPY], ours_seconds)
    least = case.flops[mode] / gemm_rate(case.dtype, device)
    report["gemm_share"] = ratios([least], [ours["seconds"]["median"]])["median"]
    if peer is not None and peer["seconds"] is not None:
        report["best_peer"], report["ratio"] = peer["name"], peer["ratio"]
        report["overhead_us"] = 1e6 * (ours["seconds"]["median"] - peer["seconds"]["median"])
    return report


def compare(case: Case, device: torch.device, budget_s: float, repeats: int | None = None) -> list[CaseResult]:
    """Compare all sides of a case, in each of its modes.

    Parameters
    ----------
    case : Case
    device : torch.device
    budget_s : float
        Seconds of timing for one mode; checking and compiling come on top.
    repeats : int, optional
        Number of rounds, instead of as many as the budget allows.
    """
    problem = Problem(case, device)
    return [_compare_mode(problem, mode, budget_s, repeats) for mode in case.modes]
