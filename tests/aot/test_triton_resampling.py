"""The resampling ops' Triton kernels, compiled for NVIDIA and AMD with no GPU, as the launchers launch them."""

from __future__ import annotations

from typing import Any
from unittest import mock

import pytest
import torch

pytest.importorskip("triton")

from triton.backends.compiler import GPUTarget

from fastgan.ops.box_filter2d import triton as box_filter2d
from fastgan.ops.upsample_add import triton as upsample_add
from fastgan.ops.upsample_conv2d.triton import KERNELS
from fastgan.ops.upsample_conv2d.triton_flip import flip
from fastgan.ops.upsample_conv2d.triton_parts import NOTHING, Prologue
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


def compile_and_read(launch: Launch, target: str) -> Any:
    compiled = compile_launch(launch, TARGETS[target])
    assert compiled.asm["hsaco" if target.startswith("gfx") else "cubin"]
    return (amd if target.startswith("gfx") else nvidia)(compiled)


def parameters(by_sample: bool) -> Prologue:
    size = (8, 128) if by_sample else (128,)
    return Prologue(torch.zeros(128), torch.zeros(128), torch.zeros(size), torch.zeros(size), "relu", 0.0, 1.0, 1e-5)


@pytest.mark.proves("compiled", op="upsample_conv2d", backend="triton")
@pytest.mark.proves("compiled", op="norm_act_upsample_conv2d", backend="triton")
@each_target
@pytest.mark.parametrize(
    ("dtype", "c_out", "everything", "prologue"),
    [
        (torch.bfloat16, 96, True, None),
        (torch.bfloat16, 96, True, "sample"),
        (torch.bfloat16, 96, False, "channel"),
        (torch.float16, 100, False, None),
        (torch.float16, 100, False, "sample"),
        (torch.float32, 96, True, None),  # with a normalisation it is left to the two ops
    ],
    ids=str,
)
@pytest.mark.parametrize(("form", "products"), [("fused", 9), ("phase", 16)])
def test_the_kernels_that_convolve(
    form: str, products: int, dtype: torch.dtype, c_out: int, everything: bool, prologue: str | None, target: str
) -> None:
    """Half types on the tensor cores, float32 without TF32; no spills, with `everything` or nothing after the sums."""
    x, w = torch.zeros(8, 128, 8, 8, dtype=dtype), torch.zeros(c_out, 128, 3, 3, dtype=dtype)
    gathered, residual = None, None
    if everything:
        gathered, residual = torch.empty(2, c_out), torch.zeros(8, c_out, 16, 16, dtype=dtype)
    before = NOTHING if prologue is None else parameters(prologue == "sample")
    hip = "of AMD" if target.startswith("gfx") else None
    with record_launches() as launches, mock.patch.object(torch.version, "hip", hip):
        KERNELS[form](x, w, torch.zeros(c_out, dtype=dtype), residual, gathered, before)
    for launch in launches:
        assert compile_and_read(launch, target).spills == 0, launch.name
    resources = compile_and_read(launches[0], target)
    # One block of eight warps stays resident, on AMD two waves a unit.
    assert resources.registers <= 255
    if dtype != torch.float32:
        assert resources.tensor_core >= products, "one for each"
    elif hip is None:
        assert resources.tensor_core == 0
    if hip is None:
        assert resources.shared <= 163 * 1024, "what sm_80 has"


def streams(dtype: torch.dtype, layout: torch.memory_format) -> list[Launch]:
    """The passes over memory, with everything that they fuse; nothing runs."""
    x, low = torch.zeros(32, 128, 34, 32, dtype=dtype), torch.zeros(32, 128, 17, 16, dtype=dtype)
    x, low = x.contiguous(memory_format=layout), low.contiguous(memory_format=layout)
    gathered, bias = torch.empty(2, 128, dtype=torch.float32), torch.zeros(128, dtype=dtype)
    with record_launches() as launches:
        box_filter2d.box(x, 0, bias=bias, statistics=gathered)
        box_filter2d.box(x, 0, bias=bias, residual=torch.zeros_like(x)[..., :-1, :-1], statistics=gathered)
        box_filter2d.box_filter2d(x, None, "lrelu", 0.2, 1, 0.25)
        box_filter2d.box_filter2d(x, x, "lrelu", 0.2, 1, 0.25)
        box_filter2d.box_filter2d_backward(x, torch.zeros_like(x)[..., :-1, :-1], "relu", 0.0, 1, 0.25)
        upsample_add.upsample_add(x, low, True)
        flip(torch.zeros(96, 128, 3, 3, dtype=dtype), 1, layout)
    return launches


@pytest.mark.proves("compiled", op="box_filter2d", backend="triton")
@pytest.mark.proves("compiled", op="upsample_add", backend="triton")
@pytest.mark.proves("compiled", op="conv2d_avg_pool2d", backend="triton")
@each_target
@pytest.mark.parametrize(
    ("dtype", "layout"),
    [(torch.bfloat16, torch.channels_last), (torch.float32, torch.contiguous_format)],
    ids=str,
)
def test_passes_over_memory(dtype: torch.dtype, layout: torch.memory_format, target: str) -> None:
    """No spills, and in channels_last, whose neighbours are whole pixels apart, accesses of 16 bytes."""
    for launch in streams(dtype, layout):
        resources = compile_and_read(launch, target)
        assert resources.spills == 0, launch.name
        assert resources.registers <= 128, launch.name  # four blocks of four warps stay resident on sm_90
        if layout == torch.channels_last and launch.name in ("box_filter2d_kernel", "upsample_add_kernel"):
            block = launch.constants["LINES"] * launch.constants["COLS"]
            wide = block * dtype.itemsize // (16 * launch.num_warps * TARGETS[target].warp_size)
            assert wide or target.startswith("gfx"), "AMD's warps are twice as wide"
            assert resources.wide_loads >= 2 * wide and resources.wide_stores >= wide, launch.name
