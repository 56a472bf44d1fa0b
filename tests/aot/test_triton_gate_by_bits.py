"""sign_bits' and gate_by_bits' Triton kernels, compiled for NVIDIA and AMD with no GPU, as they are launched."""

from __future__ import annotations

import pytest
import torch

pytest.importorskip("triton")

from triton.backends.compiler import GPUTarget

from fastgan.ops.gate_by_bits import triton as kernels
from tests.ledger.launches import compile_launch, record_launches
from tests.ledger.resources import amd, nvidia

pytestmark = pytest.mark.aot

TARGETS = {
    "sm_80": GPUTarget("cuda", 80, 32),
    "sm_90": GPUTarget("cuda", 90, 32),
    "sm_100": GPUTarget("cuda", 100, 32),
    "gfx942": GPUTarget("hip", "gfx942", 64),
}


@pytest.mark.proves("compiled", op="gate_by_bits", backend="triton")
@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("shape", [(32, 128, 32, 32), (3, 13, 7, 7), (1,)], ids=str)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64], ids=str)
def test_no_spills_and_wide_accesses(dtype: torch.dtype, shape: tuple[int, ...], target: str) -> None:
    x = torch.zeros(shape, dtype=dtype)
    with record_launches() as launches:
        bits = kernels.sign_bits(x, False)
        kernels.gate_by_bits(x, bits, 0.2, 1.0, False)
        kernels.gate_by_bits(x, bits, 0.0, 1.0, False)
    assert [launch.name for launch in launches] == ["sign_bits_kernel", *["gate_by_bits_kernel"] * 2]
    for launch in launches:
        compiled = compile_launch(launch, TARGETS[target])
        resources = (amd if target.startswith("gfx") else nvidia)(compiled)
        assert resources.spills == 0, launch.name
        assert resources.registers <= 128, launch.name  # four blocks of four warps stay resident on sm_90
        if x.numel() % 16 == 0:
            threads = launch.num_warps * TARGETS[target].warp_size
            wide = 8 * launch.constants["BYTES"] * dtype.itemsize // (16 * threads)
            assert wide >= 1 and resources.wide_loads >= wide, launch.name
            assert resources.wide_stores == (wide if launch.name == "gate_by_bits_kernel" else 0), launch.name
