"""polar_factor's Triton kernels, compiled for NVIDIA and AMD with no GPU, as the launchers launch them."""

from __future__ import annotations

from typing import Any
from unittest import mock

import pytest
import torch

pytest.importorskip("triton")

from triton.backends.compiler import GPUTarget

from fastgan.ops.polar_factor import triton as kernels
from tests.ledger.launches import Launch, compile_launch, record_launches
from tests.ledger.resources import amd, nvidia

pytestmark = pytest.mark.aot

TARGETS = {
    "sm_80": GPUTarget("cuda", 80, 32),
    "sm_90": GPUTarget("cuda", 90, 32),
    "sm_100": GPUTarget("cuda", 100, 32),
    "gfx942": GPUTarget("hip", "gfx942", 64),
}
each_target = pytest.mark.parametrize("target", TARGETS)
#: Products of matrices in a kernel's code.
PRODUCTS = {"symmetric": 1, "product": 1, "traces": 1, "resident": 5}
#: Of float32 by NVIDIA's tensor cores.
TF32_PRODUCTS = 3


def compiled(launch: Launch, target: str) -> Any:
    code = compile_launch(launch, TARGETS[target])
    assert code.asm["hsaco" if target.startswith("gfx") else "cubin"]
    return code


def distinct(launches: list[Launch]) -> list[Launch]:
    """The first launch of each specialisation."""
    return list({(launch.name, str(launch.signature)): launch for launch in launches}.values())


@pytest.mark.proves("compiled", op="polar_factor", backend="triton", derivatives=("forward",))
@each_target
@pytest.mark.parametrize(
    ("dtype", "n"),
    [
        (torch.float32, 16),
        (torch.float32, 30),
        (torch.bfloat16, 32),
        (torch.float64, 32),
        (torch.float32, 50),
        (torch.float64, 128),
        (torch.float32, 2048),
    ],
    ids=str,
)
def test_products_run_on_the_matrix_cores_without_spills(dtype: torch.dtype, n: int, target: str) -> None:
    hip = "of AMD" if target.startswith("gfx") else None
    with record_launches() as launches, mock.patch.object(torch.version, "hip", hip):
        kernels.polar_factor(torch.zeros(1, n, n, dtype=dtype), 4)
    for launch in distinct(launches):
        code = compiled(launch, target)
        resources = (amd if hip else nvidia)(code)
        assert resources.spills == 0, launch.name
        assert resources.registers <= 255, launch.name
        products = PRODUCTS[launch.name.removeprefix("polar_factor_").removesuffix("_kernel")]
        assert resources.tensor_core >= products, launch.name
        if hip is None:
            assert resources.shared <= 163 * 1024, "what sm_80 has"
            ieee = dtype == torch.float64
            assert ("tf32" in code.asm["ptx"]) != ieee, launch.name
            assert resources.tensor_core >= products * (1 if ieee else TF32_PRODUCTS), "three for each in TF32"
