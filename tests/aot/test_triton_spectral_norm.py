"""spectral_norm's Triton kernels, compiled for NVIDIA and AMD with no GPU, as the launchers launch them.

Compiled are forward, backward and double backward of a group of ten weights, as many as the SNGAN discriminator has, in
the dtypes and orders of the iteration; and of the longest group that shares launches.
"""

from __future__ import annotations

import re
from typing import Any

import pytest
import torch

pytest.importorskip("triton")

from triton.backends.compiler import GPUTarget

from fastgan.ops.spectral_norm import triton as kernels
from fastgan.ops.spectral_norm import triton_plan as plans
from tests.ledger.launches import Launch, compile_launch, record_launches
from tests.ledger.resources import amd, nvidia

pytestmark = pytest.mark.aot

TARGETS = {
    "sm_80": GPUTarget("cuda", 80, 32),
    "sm_90": GPUTarget("cuda", 90, 32),
    "sm_100": GPUTarget("cuda", 100, 32),
    "gfx942": GPUTarget("hip", "gfx942", 64),
}
#: dtype, n_power_iterations, v_first.
CASES = [
    (torch.float32, 1, False),
    (torch.float32, 0, False),
    (torch.bfloat16, 1, False),
    (torch.float16, 1, True),
    (torch.float64, 1, False),
]
WEIGHTS = 10
#: The most that share a launch of the double backward, whose kernels have the most arguments.
MOST_WEIGHTS = 62
#: Weights that each kernel reads and writes element by element, or multiplies with a vector in one of two ways.
STREAMS = {
    "spectral_norm_product_kernel": (2, 0),
    "spectral_norm_finish_kernel": (1, 1),
    "spectral_norm_bwd_dot_kernel": (2, 0),
    "spectral_norm_bwd_kernel": (1, 1),
    "spectral_norm_double_bwd_dots_kernel": (3, 0),
    "spectral_norm_double_bwd_kernel": (3, 2),
}


def launches_of(count: int, dtype: torch.dtype, n_power_iterations: int = 1, v_first: bool = False) -> list[Launch]:
    """Of forward, backward and double backward of a group; nothing runs."""
    weights = [torch.zeros(64, 32, 3, 3, dtype=dtype) for _ in range(count)]
    us = [torch.zeros(w.shape[0], dtype=dtype) for w in weights]
    vs = [torch.zeros(w[0].numel(), dtype=dtype) for w in weights]
    dims = [0] * count
    with record_launches() as launches:
        _, sigmas, us, vs = kernels.spectral_norm(
            weights, us, vs, dims, [True] * count, n_power_iterations, 1e-12, v_first
        )
        kernels.spectral_norm_backward(weights, weights, sigmas, us, vs, dims)
        kernels.spectral_norm_double_backward(weights, weights, weights, sigmas, us, vs, dims)
    return launches


def compile_and_read(launch: Launch, target: str) -> tuple[Any, Any]:
    compiled = compile_launch(launch, TARGETS[target])
    assert compiled.asm["hsaco" if target.startswith("gfx") else "cubin"]
    return compiled, (amd if target.startswith("gfx") else nvidia)(compiled)


def spills_to_memory(compiled: Any, resources: Any) -> int:
    """Without the scalar registers that AMD's compiler parks in lanes of a vector register, which is none."""
    if "amdgcn" not in compiled.asm:
        return resources.spills
    found = re.search(r"\.vgpr_spill_count:\s+(\d+)", compiled.asm["amdgcn"])
    scratch = re.search(r"\.private_segment_fixed_size:\s+(\d+)", compiled.asm["amdgcn"])
    assert found and scratch
    return int(found[1]) + int(scratch[1])


@pytest.mark.proves("compiled", op="spectral_norm", backend="triton")
@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize(("dtype", "n_power_iterations", "v_first"), CASES, ids=str)
def test_no_spills_and_wide_accesses(dtype: torch.dtype, n_power_iterations: int, v_first: bool, target: str) -> None:
    launches = launches_of(WEIGHTS, dtype, n_power_iterations, v_first)
    assert {launch.name for launch in launches} == set(STREAMS)
    for launch in launches:
        compiled, resources = compile_and_read(launch, target)
        assert spills_to_memory(compiled, resources) == 0, launch.name
        # Three blocks of four warps stay resident on sm_90.
        assert resources.registers <= 168, launch.name
        block = plans._BLOCK // 2 if dtype == torch.float64 else plans._BLOCK
        if "BLOCK_ROWS" in launch.constants:
            block = launch.constants["BLOCK_ROWS"] * launch.constants["BLOCK_COLS"]
        threads = launch.num_warps * TARGETS[target].warp_size
        wide = block * dtype.itemsize // (16 * threads)
        loads, stores = STREAMS[launch.name]
        assert wide >= 1
        assert resources.wide_loads >= loads * wide, launch.name
        assert resources.wide_stores >= stores * wide, launch.name


@pytest.mark.parametrize("target", TARGETS)
def test_the_longest_group(target: str) -> None:
    launches = launches_of(MOST_WEIGHTS, torch.float32)
    assert len(launches) == 7
    assert len(launches_of(MOST_WEIGHTS + 1, torch.float32)) == 9, "a longer group's double backward is shared in two"
    for launch in launches:
        compiled, resources = compile_and_read(launch, target)
        assert spills_to_memory(compiled, resources) == 0, launch.name
        if "ptx" in compiled.asm:
            entry = re.search(r"\.entry[^(]*\((.*?)\)", compiled.asm["ptx"], re.DOTALL)
            assert entry
            sizes = re.findall(r"\.param \.[a-z](\d+)", entry[1])
            assert sum(map(int, sizes)) // 8 <= kernels._ARGUMENTS, launch.name


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("target", TARGETS)
def test_unaligned_weights_compile_without_spills(dtype: torch.dtype, target: str) -> None:
    """Views into a flat buffer may start anywhere."""
    flat = torch.zeros(1 + 2 * 64 * 27, dtype=dtype)
    weights = [x.view(64, 3, 3, 3) for x in flat[1:].chunk(2)]
    us, vs = [torch.zeros(64, dtype=dtype)] * 2, [torch.zeros(27, dtype=dtype)] * 2
    with record_launches() as launches:
        _, sigmas, us, vs = kernels.spectral_norm(weights, us, vs, [0, 0], [True, False], 1, 1e-12, False)
        kernels.spectral_norm_backward(weights, weights, sigmas, us, vs, [0, 0])
    for launch in launches:
        compiled, resources = compile_and_read(launch, target)
        assert spills_to_memory(compiled, resources) == 0, launch.name
