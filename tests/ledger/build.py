"""Everything of the ledger but the counted bytes: compiled kernels, stock PyTorch; and where it is kept."""

from __future__ import annotations

import math
from dataclasses import asdict
from pathlib import Path
from typing import Any

from triton.backends.compiler import GPUTarget

from .launches import compile_launch, record_launches
from .resources import nvidia, occupancy_sm90
from .torch_kernels import TorchKernels
from .workloads import Case

DOCS = Path(__file__).resolve().parents[2] / "docs"
JSON, PAGE = DOCS / "ledger.json", DOCS / "ledger.md"


def compiled(case: Case) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Our kernels, compiled for sm_90, and the kernels that PyTorch runs beside them."""
    with record_launches():
        case.ours()  # what a first call builds for the following ones is not theirs
    with record_launches() as launches, TorchKernels() as torch_side:
        case.ours()
    kernels = []
    for launch in launches:
        resources = nvidia(compile_launch(launch, GPUTarget("cuda", 90, 32)))
        occupancy = occupancy_sm90(resources.registers, resources.shared, launch.num_warps)
        kernels.append(
            {
                "kernel": launch.name,
                "programs": math.prod(launch.grid),
                **resources.as_dict(),
                "occupancy": occupancy,
            }
        )
    return kernels, [asdict(kernel) for kernel in torch_side.kernels]


def stock(case: Case) -> list[dict[str, Any]]:
    """The kernels of the stock call."""
    with TorchKernels() as torch_side:
        case.stock()
    return [asdict(kernel) for kernel in torch_side.kernels]
