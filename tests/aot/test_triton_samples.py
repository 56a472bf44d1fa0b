"""The Triton kernels with a number for each sample, compiled for NVIDIA and AMD with no GPU, as they are launched."""

from __future__ import annotations

from typing import Any

import pytest
import torch

pytest.importorskip("triton")

from triton.backends.compiler import GPUTarget

import fastgan
from fastgan.functional import gradient_norm_penalty, interpolate_samples
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
each_dtype = pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64], ids=str)
#: Tensors read and written once for each element.
STREAMS = {
    "interpolate_samples_fwd_kernel": (2, 1),
    "interpolate_samples_bwd_kernel": (1, 2),
    "gradient_norm_penalty_partial_kernel": (1, 0),
    "gradient_norm_penalty_bwd_kernel": (1, 1),
}


def compile_and_read(launch: Launch, target: str) -> Any:
    compiled = compile_launch(launch, TARGETS[target])
    assert compiled.asm["hsaco" if target.startswith("gfx") else "cubin"]
    return (amd if target.startswith("gfx") else nvidia)(compiled)


def check(launches: list[Launch], dtype: torch.dtype, target: str) -> None:
    for launch in launches:
        resources = compile_and_read(launch, target)
        assert resources.spills == 0, launch.name
        assert resources.registers <= 128, launch.name  # four blocks of four warps stay resident on sm_90
        if launch.name in STREAMS:
            loads, stores = STREAMS[launch.name]
            threads = launch.num_warps * TARGETS[target].warp_size
            wide = launch.constants["BLOCK"] * dtype.itemsize // (16 * threads)
            assert wide >= 1
            assert resources.wide_loads >= loads * wide and resources.wide_stores == stores * wide, launch.name


@pytest.mark.proves("compiled", op="interpolate_samples", backend="triton")
@each_dtype
@each_target
def test_interpolate_samples(dtype: torch.dtype, target: str) -> None:
    x, y = (torch.zeros(64, 3, 64, 64, dtype=dtype, requires_grad=True) for _ in range(2))
    with record_launches() as launches:
        with fastgan.use_backend("triton"):
            z = interpolate_samples(x, y)
        torch.autograd.grad(z, (x, y), torch.zeros_like(z), create_graph=True)
    assert [launch.name for launch in launches] == ["interpolate_samples_fwd_kernel", "interpolate_samples_bwd_kernel"]
    check(launches, dtype, target)


@pytest.mark.proves("compiled", op="gradient_norm_penalty", backend="triton", derivatives=("forward", "backward"))
@each_dtype
@each_target
def test_gradient_norm_penalty(dtype: torch.dtype, target: str) -> None:
    """Its second derivative is torch's own."""
    g = torch.zeros(64, 3, 64, 64, dtype=dtype, requires_grad=True)
    with record_launches() as launches:
        with fastgan.use_backend("triton"):
            penalty = gradient_norm_penalty(g, weight=0.1, center=1.0, one_sided=True)
        torch.autograd.grad(penalty, g)
    assert [launch.name for launch in launches] == [
        "gradient_norm_penalty_partial_kernel",
        "gradient_norm_penalty_kernel",
        "gradient_norm_penalty_bwd_kernel",
    ]
    check(launches, dtype, target)


@each_target
@pytest.mark.parametrize("shape", [(3, 13, 7, 7), (6,), (1, 1)], ids=str)
def test_odd_sizes_compile_without_spills(shape: tuple[int, ...], target: str) -> None:
    g = torch.zeros(shape, dtype=torch.bfloat16, requires_grad=True)
    with record_launches() as launches:
        with fastgan.use_backend("triton"):
            penalty = gradient_norm_penalty(interpolate_samples(g, g.detach()), weight=0.1)
        torch.autograd.grad(penalty, g)
    for launch in launches:
        assert compile_and_read(launch, target).spills == 0, launch.name
