"""The shape of what is measured, as it is written to JSON."""

from __future__ import annotations

from typing import Any, TypedDict

from typing_extensions import NotRequired  # a dependency of torch

from .measure import Spread

__all__ = ["CaseResult", "Report", "SideResult"]


class SideResult(TypedDict):
    """One side of a case in one mode. `status` is valid, wrong or failed; only valid sides have times."""

    name: str
    ours: bool
    status: str
    reason: str | None
    deviation: float | None  # from the float64 result, relative to its largest magnitude
    seconds: Spread | None  # beyond the baseline's, where the case has one
    ratio: Spread | None  # this side's time over that of our fastest, round by round


class CaseResult(TypedDict):
    """A case in one mode, under one allocator setting."""

    family: str
    case: str
    mode: str
    workload: dict[str, Any]
    overhead: bool
    failed: bool  # a side of ours is wrong: no speed is reported
    sides: list[SideResult]
    ours: str | None  # the fastest valid side of ours
    best_peer: str | None
    ratio: Spread | None  # the best peer's
    overhead_us: float | None  # our time less the best peer's, a call
    bytes: int
    flops: int
    copy_share: Spread | None  # time to copy as many bytes between existing buffers over our time
    fresh_copy_share: Spread | None  # the same into memory just allocated
    gemm_share: float | None  # FLOP/s over those of a large product in the same dtype
    other_cores: float | None  # kept busy by other processes meanwhile
    memory: dict[str, int] | None  # peak bytes above the inputs, of our best side and of the best peer
    baseline: NotRequired[dict[str, Spread] | None]  # seconds of what is subtracted, plain and compiled


class Report(TypedDict):
    """What one process measured under one allocator setting."""

    machine: dict[str, Any]
    results: list[CaseResult]
