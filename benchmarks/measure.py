"""Timing: interleaved, in one process, on the clock that the device has."""

from __future__ import annotations

import gc
import math
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TypedDict

import torch

__all__ = ["Spread", "Timer", "beyond", "interleave", "ratios", "spread"]

Timed = Callable[[], object]
#: A block of calls shorter than this is repeated until it is not: a clock reading costs a fraction of a µs.
MIN_BLOCK_S = 2e-3
MIN_ROUNDS, MAX_ROUNDS = 5, 200
#: A call longer than this is timed at once: what it finds in the caches is a small part of what it reads.
LONG_CALL_S = 0.1


class Spread(TypedDict):
    """Median, minimum and maximum."""

    median: float
    min: float
    max: float


def spread(values: Sequence[float]) -> Spread:
    """Summary of one or more values."""
    return {"median": statistics.median(values), "min": min(values), "max": max(values)}


def beyond(seconds: Sequence[float], baseline: Sequence[float]) -> list[float]:
    """What a call takes more than the baseline did in the same round; noise makes small differences negative."""
    return [a - b for a, b in zip(seconds, baseline, strict=True)]


def ratios(numerator: Sequence[float], denominator: Sequence[float]) -> Spread:
    """Spread of the ratios of times taken in the same round, infinite over a difference that noise has eaten up."""
    return spread([a / b if b > 0 else math.inf for a, b in zip(numerator, denominator, strict=True)])


class Timer:
    """Seconds that calls take: the wall clock on the CPU, events on the stream on a GPU.

    Calls on a GPU are issued back to back, so where the host cannot keep up the time is the host's.
    """

    def __init__(self, device: torch.device) -> None:
        self._cuda = device.type == "cuda"

    def __call__(self, call: Timed, n: int, settle: bool = True) -> float:
        """Mean seconds of `n` calls in a row, after one that is not counted: it finds others' data in the caches."""
        if settle:
            call()
        if self._cuda:
            start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            torch.cuda.synchronize()
            start.record()
            for _ in range(n):
                call()
            end.record()
            end.synchronize()
            return start.elapsed_time(end) / 1e3 / n
        begin = time.perf_counter()
        for _ in range(n):
            call()
        return (time.perf_counter() - begin) / n


def interleave(
    calls: Mapping[str, Timed], timer: Timer, budget_s: float, repeats: int | None
) -> dict[str, list[float]]:
    """Time all calls in turn, round after round: A B C A B C ...

    Parameters
    ----------
    calls : mapping of name to callable
    timer : Timer
    budget_s : float
        Seconds to spend; decides the number of rounds (at least 5) where `repeats` is None.
    repeats : int, optional
        The number of rounds.

    Returns
    -------
    dict of name to list of float
        Seconds a call, one entry a round, so that entry i of all names belongs to the same moment.
    """
    first = {name: timer(call, 1) for name, call in calls.items()}
    long = {name for name, taken in first.items() if taken > LONG_CALL_S}
    n = {name: 1 if name in long else max(1, math.ceil(MIN_BLOCK_S / timer(calls[name], 1))) for name in calls}

    def time_once(name: str) -> float:
        return timer(calls[name], n[name], name not in long)

    seconds: dict[str, list[float]] = {name: [] for name in calls}
    collecting = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        # The first round warms up at full length; it is not counted and tells how many fit.
        begin = time.perf_counter()
        for name in calls:
            time_once(name)
        round_s = time.perf_counter() - begin
        rounds = repeats or min(MAX_ROUNDS, max(MIN_ROUNDS, int(budget_s / round_s)))
        for _ in range(rounds):
            for name in calls:
                seconds[name].append(time_once(name))
    finally:
        if collecting:
            gc.enable()
    return seconds
