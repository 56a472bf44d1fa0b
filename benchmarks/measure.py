"""Timing: interleaved, in one process, on the clock that the device has."""

from __future__ import annotations

import gc
import math
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TypedDict

import torch

__all__ = ["Spread", "Timer", "interleave", "ratios", "spread"]

Timed = Callable[[], object]
#: A block of calls shorter than this is repeated until it is not: a clock reading costs a fraction of a µs.
MIN_BLOCK_S = 2e-3
MIN_ROUNDS, MAX_ROUNDS = 5, 200


class Spread(TypedDict):
    """Median, minimum and maximum."""

    median: float
    min: float
    max: float


def spread(values: Sequence[float]) -> Spread:
    """Summary of one or more values."""
    return {"median": statistics.median(values), "min": min(values), "max": max(values)}


def ratios(numerator: Sequence[float], denominator: Sequence[float]) -> Spread:
    """Spread of the ratios of times taken in the same round."""
    return spread([a / b for a, b in zip(numerator, denominator, strict=True)])


class Timer:
    """Seconds that calls take: the wall clock on the CPU, events on the stream on a GPU.

    Calls on a GPU are issued back to back, so where the host cannot keep up the time is the host's.
    """

    def __init__(self, device: torch.device) -> None:
        self._cuda = device.type == "cuda"

    def __call__(self, call: Timed, n: int) -> float:
        """Mean seconds of `n` calls in a row, after one that is not counted: it finds others' data in the caches."""
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
    for call in calls.values():
        timer(call, 1)
    n = {name: max(1, math.ceil(MIN_BLOCK_S / timer(call, 1))) for name, call in calls.items()}
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    collecting = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        # The first round warms up at full length; it is not counted and tells how many fit.
        begin = time.perf_counter()
        for name, call in calls.items():
            timer(call, n[name])
        round_s = time.perf_counter() - begin
        rounds = repeats or min(MAX_ROUNDS, max(MIN_ROUNDS, int(budget_s / round_s)))
        for _ in range(rounds):
            for name, call in calls.items():
                seconds[name].append(timer(call, n[name]))
    finally:
        if collecting:
            gc.enable()
    return seconds
