"""The ledger may not get worse, and its page may not go stale. ``python -m tests.ledger`` renews both."""

from __future__ import annotations

import json
from typing import Any

import pytest

pytest.importorskip("triton")

import triton

from .build import JSON, PAGE, compiled, stock
from .count import count
from .table import render
from .torch_kernels import TorchKernels
from .workloads import WORKLOADS, Workload

LEDGER = json.loads(JSON.read_text())
each_workload = pytest.mark.parametrize("workload", WORKLOADS, ids=lambda workload: workload.name)

_FEWER_IS_BETTER = ("registers", "spills", "shared", "narrow_loads", "narrow_stores")


def recorded(workload: Workload) -> dict[str, Any]:
    assert workload.name in LEDGER["workloads"], "a new workload: run python -m tests.ledger"
    return LEDGER["workloads"][workload.name]


def test_every_workload_is_recorded() -> None:
    assert list(LEDGER["workloads"]) == [workload.name for workload in WORKLOADS]


def test_page_is_up_to_date() -> None:
    assert PAGE.read_text() == render(LEDGER)


@each_workload
def test_stock_side(workload: Workload) -> None:
    assert stock(workload.make(workload.batch)) == recorded(workload)["stock_kernels"]


@pytest.mark.interpreter
@each_workload
def test_bytes_requested(workload: Workload) -> None:
    counted = [launch.bytes for launch in count(workload.make(workload.small_batch))]
    committed = recorded(workload)["small_bytes"]
    assert len(counted) <= len(committed)
    assert sum(counted) <= sum(committed)


@pytest.mark.interpreter
@each_workload
def test_host_never_waits(workload: Workload) -> None:
    with TorchKernels() as torch_side:
        workload.make(1).ours()
    assert torch_side.waits == []


@pytest.mark.aot
@each_workload
def test_compiled_kernels(workload: Workload) -> None:
    kernels, torch_kernels = compiled(workload.make(workload.batch))
    committed = recorded(workload)
    assert [kernel["kernel"] for kernel in kernels] == [kernel["kernel"] for kernel in committed["kernels"]]
    assert len(torch_kernels) <= len(committed["torch_kernels"])
    for now, before in zip(kernels, committed["kernels"], strict=True):
        assert now["spills"] == 0
        if triton.__version__ != LEDGER["triton"]:
            continue  # registers and what follows from them are comparable under one compiler only
        worse = {key: (now[key], before[key]) for key in _FEWER_IS_BETTER if now[key] > before[key]}
        if now["occupancy"] < before["occupancy"]:
            worse["occupancy"] = (now["occupancy"], before["occupancy"])
        assert not worse, f"{now['kernel']}: (now, committed with Triton {LEDGER['triton']}): {worse}"
