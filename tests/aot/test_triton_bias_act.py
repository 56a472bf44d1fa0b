"""bias_act's Triton kernels, compiled for NVIDIA and AMD with no GPU, as the launchers launch them.

Compiled are forward, backward with the bias's gradient and double backward of every activation in float32,
NCHW; of a cheap and a costly one also in the other dtypes and in channels_last, and on sizes that are no
multiple of 16.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch

pytest.importorskip("triton")

from triton.backends.compiler import GPUTarget

import fastgan
from fastgan.functional import bias_act
from fastgan.ops.bias_act.activations import ACTIVATIONS
from tests.ledger.launches import Launch, compile_launch, record_launches
from tests.ledger.resources import amd, nvidia

pytestmark = pytest.mark.aot

TARGETS = {
    "sm_80": GPUTarget("cuda", 80, 32),
    "sm_90": GPUTarget("cuda", 90, 32),
    "sm_100": GPUTarget("cuda", 100, 32),
    "gfx942": GPUTarget("hip", "gfx942", 64),
}
CASES = [
    *((act, torch.float32, torch.contiguous_format) for act in ACTIVATIONS if act != "linear"),
    *((act, torch.bfloat16, torch.channels_last) for act in ("lrelu", "swish")),
    ("lrelu", torch.bfloat16, torch.contiguous_format),
    ("tanh", torch.float16, torch.channels_last),
    ("softplus", torch.float64, torch.contiguous_format),
]
#: Tensors read and written once for each element.
STREAMS = {"bias_act_fwd_kernel": (1, 1), "bias_act_bwd_kernel": (2, 1), "bias_act_double_bwd_kernel": (3, 2)}


def launches_of(act: str, shape: tuple[int, ...], dtype: torch.dtype, layout: torch.memory_format) -> list[Launch]:
    """Of forward, backward and double backward through the public function; nothing runs."""
    x = torch.zeros(shape, dtype=dtype).contiguous(memory_format=layout).requires_grad_()
    bias = torch.zeros(shape[1], dtype=dtype, requires_grad=True)
    with record_launches() as launches:
        with fastgan.use_backend("triton"):
            y = bias_act(x, bias, act=act, clamp=256.0)
        grad = torch.zeros_like(y).requires_grad_()
        (dx,) = torch.autograd.grad(y, x, grad, create_graph=True)
        torch.autograd.grad(dx, grad, torch.zeros_like(x))
        torch.autograd.grad(y, (x, bias), torch.zeros_like(y), retain_graph=True)
    return launches


def compile_and_read(launch: Launch, target: str) -> Any:
    compiled = compile_launch(launch, TARGETS[target])
    assert compiled.asm["hsaco" if target.startswith("gfx") else "cubin"]
    return (amd if target.startswith("gfx") else nvidia)(compiled)


@pytest.mark.proves("compiled", op="bias_act", backend="triton")
@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize(("act", "dtype", "layout"), CASES, ids=str)
def test_no_spills_and_wide_accesses(act: str, dtype: torch.dtype, layout: torch.memory_format, target: str) -> None:
    launches = launches_of(act, (16, 128, 32, 32), dtype, layout)
    names = {launch.name for launch in launches}
    assert names >= {"bias_act_fwd_kernel", "bias_act_bwd_kernel", "bias_act_bias_grad_kernel"}
    assert ("bias_act_double_bwd_kernel" in names) != ACTIVATIONS[act].piecewise_linear
    for launch in launches:
        resources = compile_and_read(launch, target)
        assert resources.spills == 0, launch.name
        # Four blocks of four warps stay resident on sm_90; three where the arithmetic is float64's.
        assert resources.registers <= (168 if dtype == torch.float64 else 128), launch.name
        if launch.name not in STREAMS:
            continue
        block = launch.constants["BLOCK_ROWS"] * launch.constants["BLOCK_COLS"]
        threads = launch.num_warps * TARGETS[target].warp_size
        wide = block * dtype.itemsize // (16 * threads)
        loads, stores = STREAMS[launch.name]
        assert wide >= 1
        assert resources.wide_loads >= loads * wide, launch.name
        assert resources.wide_stores == stores * wide, launch.name
        assert resources.narrow_loads <= 2, f"{launch.name}: only a bias is read in less than 16 bytes"
        assert resources.narrow_stores <= 1, f"{launch.name}: only a partial sum is written in less than 16 bytes"


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last], ids=str)
def test_odd_sizes_compile_without_spills(layout: torch.memory_format, target: str) -> None:
    for launch in launches_of("swish", (3, 13, 7, 7), torch.bfloat16, layout):
        assert compile_and_read(launch, target).spills == 0
