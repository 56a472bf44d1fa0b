"""Everything that the ledger says of a workload; and where it is kept."""

from __future__ import annotations

import math
from dataclasses import asdict
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from triton.backends.compiler import GPUTarget

from .case import Case
from .launches import Launch, compile_launch, record_launches
from .resources import amd, nvidia, occupancy_sm90
from .torch_kernels import TorchKernel, TorchKernels
from .traffic import demand

DOCS = Path(__file__).resolve().parents[2] / "docs"
JSON, PAGE = DOCS / "ledger.json", DOCS / "ledger.md"

_SM_90 = GPUTarget("cuda", 90, 32)
#: What the kernels are compiled for beside sm_90, of which the ledger has most to say.
_ELSEWHERE = {
    "sm_80": GPUTarget("cuda", 80, 32),
    "sm_100": GPUTarget("cuda", 100, 32),
    "gfx942": GPUTarget("hip", "gfx942", 64),
}


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
    resources = nvidia(compile_launch(launch, _SM_90))
    return {
        "kernel": launch.name,
        "programs": math.prod(launch.grid),
        **resources.as_dict(),
        "occupancy": occupancy_sm90(resources.registers, resources.shared, launch.num_warps),
        **demand(launch)._asdict(),
        "tensors": launch.tensors,
    }


def elsewhere(case: Case) -> list[dict[str, dict[str, int]]]:
    """What each launch's kernel needs on the other targets."""
    launches = {hip: recorded(case, hip)[0] for hip in (False, True)}
    needs: list[dict[str, dict[str, int]]] = [{} for _ in launches[False]]
    for name, target in _ELSEWHERE.items():
        hip = target.backend == "hip"
        for entry, launch in zip(needs, launches[hip], strict=True):
            entry[name] = (amd if hip else nvidia)(compile_launch(launch, target)).as_dict()
    return needs


def stock(case: Case) -> list[dict[str, Any]]:
    """The kernels of the stock call."""
    with TorchKernels(convolves=False) as torch_side:
        case.stock()
    return [asdict(kernel) for kernel in torch_side.kernels]
