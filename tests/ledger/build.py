"""Everything that the ledger says of a workload; and where it is kept."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from triton.backends.compiler import GPUTarget

from .case import Case
from .launches import Launch, compile_launch, record_launches
from .resources import Resources, amd, nvidia, occupancy_sm90
from .torch_kernels import TorchKernel, TorchKernels
from .traffic import Demand, demand

DOCS = Path(__file__).resolve().parents[2] / "docs"
JSON, PAGE = DOCS / "ledger.json", DOCS / "ledger.md"

_SM_90 = GPUTarget("cuda", 90, 32)
#: What the kernels are compiled for beside sm_90, of which the ledger has most to say.
_ELSEWHERE = {
    "sm_80": GPUTarget("cuda", 80, 32),
    "sm_100": GPUTarget("cuda", 100, 32),
    "gfx942": GPUTarget("hip", "gfx942", 64),
}


_needs: dict[tuple[str, ...], Resources] = {}


def needs(launch: Launch, target: GPUTarget) -> Resources:
    """Of its kernel, compiled once for launches that are alike."""
    key = tuple(map(str, (launch.name, launch.signature, launch.constants, launch.aligned, launch.num_warps, target)))
    if key not in _needs:
        _needs[key] = (amd if target.backend == "hip" else nvidia)(compile_launch(launch, target))
    return _needs[key]


_asked: dict[tuple[str, ...], Demand] = {}


def asked(launch: Launch) -> Demand:
    """What it asks for, worked out once for launches that are alike."""
    key = tuple(map(str, (launch.name, launch.signature, launch.constants, launch.grid, launch.arguments)))
    if any(isinstance(value, torch.Tensor) for _, value in launch.arguments):  # a table, which the key does not show
        return demand(launch)
    if key not in _asked:
        _asked[key] = demand(launch)
    return _asked[key]


def peak(launch: Launch) -> dict[str, str]:
    """What bounds its operations, where that is not the peak of half types."""
    precision = launch.constants.get("PRECISION")
    if precision is None:
        return {}
    double = any("fp64" in str(kind) for kind in launch.signature.values())
    return {"peak": "float64" if double else precision}


def recorded(case: Case, hip: bool = False) -> tuple[list[Launch], list[TorchKernel]]:
    """Our launches, on an AMD GPU if `hip`, and the kernels that PyTorch runs beside them."""
    with mock.patch.object(torch.version, "hip", "6.4" if hip else None):
        with record_launches(), TorchKernels(convolves=False):
            case.ours()  # what a first call builds for the following ones is not theirs
        with record_launches() as launches, TorchKernels(convolves=False) as torch_side:
            case.ours()
    return launches, torch_side.kernels


def described(launch: Launch) -> dict[str, Any]:
    """What a launch asks for, and what its kernel, compiled for sm_90, needs."""
    resources = needs(launch, _SM_90)
    return {
        "kernel": launch.name,
        "programs": math.prod(launch.grid),
        **resources.as_dict(),
        "occupancy": occupancy_sm90(resources.registers, resources.shared, launch.num_warps),
        **asked(launch)._asdict(),
        **peak(launch),
        "tensors": launch.tensors,
    }


def elsewhere(case: Case) -> list[dict[str, dict[str, int]]]:
    """What each launch's kernel needs on the other targets."""
    launches = {hip: recorded(case, hip)[0] for hip in (False, True)}
    entries: list[dict[str, dict[str, int]]] = [{} for _ in launches[False]]
    for name, target in _ELSEWHERE.items():
        for entry, launch in zip(entries, launches[target.backend == "hip"], strict=True):
            entry[name] = needs(launch, target).as_dict()
    return entries


def stock(case: Case) -> list[dict[str, Any]]:
    """The kernels of the stock call."""
    with TorchKernels(convolves=False) as torch_side:
        case.stock()
    return [kernel.as_dict() for kernel in torch_side.kernels]
