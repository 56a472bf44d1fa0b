"""The ledger may not get worse, and its page may not go stale. ``python -m tests.ledger`` renews both."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

pytest.importorskip("triton")

import triton

from .build import JSON, PAGE, described, recorded, stock
from .case import Workload
from .launches import record_launches
from .table import render
from .torch_kernels import TorchKernels
from .workloads import WORKLOADS

LEDGER = json.loads(JSON.read_text())
each_workload = pytest.mark.parametrize("workload", WORKLOADS, ids=lambda workload: workload.name)

_FEWER_IS_BETTER = ("bytes", "flops")
#: Under one compiler only.
_COMPILED = ("registers", "spills", "shared", "narrow_loads", "narrow_stores")


def committed(workload: Workload) -> dict[str, Any]:
    assert workload.name in LEDGER["workloads"], "a new workload: run python -m tests.ledger"
    return LEDGER["workloads"][workload.name]


def test_every_workload_is_recorded() -> None:
    assert list(LEDGER["workloads"]) == [workload.name for workload in WORKLOADS]


def test_page_is_up_to_date() -> None:
    assert PAGE.read_text() == render(LEDGER)


@each_workload
def test_stock_side(workload: Workload) -> None:
    assert stock(workload.real()) == committed(workload)["stock_kernels"]


@pytest.mark.interpreter
@each_workload
def test_bytes_are_those_that_the_interpreter_counts(workload: Workload) -> None:
    """The ledger's are worked out from the kernel's code: here each program runs, and each load and store is seen."""
    case = workload.small()
    with record_launches() as launches, np.errstate(all="ignore"):
        case.ours()
    assert [launch.name for launch in launches] == [kernel["kernel"] for kernel in committed(workload)["kernels"]]
    assert [launch.bytes for launch in launches] == committed(workload)["small_bytes"]


@pytest.mark.interpreter
@each_workload
def test_host_never_waits(workload: Workload) -> None:
    case = workload.small()
    with TorchKernels() as torch_side:
        case.ours()
    assert torch_side.waits == []


@pytest.mark.aot
@each_workload
def test_compiled_kernels(workload: Workload) -> None:
    launches, torch_kernels = recorded(workload.real())
    before = committed(workload)
    assert [launch.name for launch in launches] == [kernel["kernel"] for kernel in before["kernels"]]
    assert [kernel.as_dict() for kernel in torch_kernels] == before["torch_kernels"]
    for launch, then in zip(launches, before["kernels"], strict=True):
        now = described(launch)
        assert now["spills"] == 0
        assert (now["tensor_core"] > 0) == (now["flops"] > 0)
        comparable = triton.__version__ == LEDGER["triton"]
        keys = _FEWER_IS_BETTER + (_COMPILED if comparable else ())
        worse = {key: (now[key], then[key]) for key in keys if now[key] > then[key]}
        if comparable and now["occupancy"] < then["occupancy"]:
            worse["occupancy"] = (now["occupancy"], then["occupancy"])
        assert not worse, f"{now['kernel']}: (now, committed with Triton {LEDGER['triton']}): {worse}"
