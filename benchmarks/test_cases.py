"""The registry's cases under pytest-benchmark: ``pytest benchmarks/ --benchmark-only``, grouped by case and mode."""

from __future__ import annotations

import functools
from typing import Any

import pytest
import torch

from fastgan_bench import registry
from fastgan_bench.case import Case, Problem
from fastgan_bench.compare import check_side

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
PARAMETERS = [
    pytest.param(case, mode, side.name, id=f"{case.family}-{case.name}-{mode}-{side.name}".replace(" ", "_"))
    for case in registry.cases(None, DEVICE)
    for mode in case.modes
    for side in case.sides
]


@functools.lru_cache(maxsize=1)  # neighbours share a case; its tensors go when the next one comes
def _problem(family: str, name: str) -> Problem:
    return Problem(registry.find(family, name, DEVICE), DEVICE)


@pytest.mark.parametrize(("case", "mode", "name"), PARAMETERS)
def test_speed(benchmark: Any, case: Case, mode: str, name: str) -> None:
    problem = _problem(case.family, case.name)
    side = next(side for side in problem.case.sides if side.name == name)
    result, call = check_side(problem, side, mode)
    benchmark.group = f"{case.family}: {case.name}, {mode}"
    benchmark.extra_info.update(
        case.workload, bytes=case.bytes[mode], flops=case.flops[mode], threads=torch.get_num_threads()
    )
    if call is None:
        message = f"{name} is {result['status']}: {result['reason']}"
        if result["ours"]:
            pytest.fail(message)
        pytest.xfail(message)  # a wrong peer has no speed

    def synchronised() -> None:
        call()
        torch.cuda.synchronize()

    benchmark(synchronised if DEVICE.type == "cuda" else call)
