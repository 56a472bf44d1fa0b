"""upfirdn2d's Triton kernel, compiled for NVIDIA and AMD with no GPU, as the launcher launches it."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

pytest.importorskip("triton")

from triton.backends.compiler import GPUTarget

import fastgan
from fastgan.functional import downsample2d, filter2d, upsample2d
from tests.ledger.launches import compile_launch, record_launches
from tests.ledger.resources import amd, nvidia

pytestmark = pytest.mark.aot

TARGETS = {
    "sm_80": GPUTarget("cuda", 80, 32),
    "sm_90": GPUTarget("cuda", 90, 32),
    "sm_100": GPUTarget("cuda", 100, 32),
    "gfx942": GPUTarget("hip", "gfx942", 64),
}


def _id(value: object) -> str:
    return getattr(value, "__name__", str(value))  # a function's address would differ from process to process


#: Function, filter's shape, shape, dtype, layout; and the launches of forward and backward.
CASES = [
    (upsample2d, (4,), (16, 128, 32, 32), torch.float32, torch.contiguous_format, 2),
    (downsample2d, (4,), (16, 128, 32, 32), torch.bfloat16, torch.channels_last, 2),
    (filter2d, (4,), (16, 128, 32, 32), torch.float16, torch.contiguous_format, 2),
    (filter2d, (3, 3), (3, 13, 7, 7), torch.float64, torch.channels_last, 2),
    (downsample2d, (12,), (4, 64, 32, 32), torch.bfloat16, torch.contiguous_format, 4),
]


@pytest.mark.proves("compiled", op="upfirdn2d", backend="triton")
@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize(("function", "filter", "shape", "dtype", "layout", "count"), CASES, ids=_id)
def test_no_spills(
    function: Callable[..., Tensor],
    filter: tuple[int, ...],
    shape: tuple[int, ...],
    dtype: torch.dtype,
    layout: torch.memory_format,
    count: int,
    target: str,
) -> None:
    x = torch.zeros(shape, dtype=dtype).contiguous(memory_format=layout).requires_grad_()
    with record_launches() as launches:
        with fastgan.use_backend("triton"):
            y = function(x, torch.ones(filter))
        torch.autograd.grad(y, x, torch.zeros_like(y))
    assert [launch.name for launch in launches] == ["upfirdn2d_kernel"] * count
    for launch in launches:
        compiled = compile_launch(launch, TARGETS[target])
        resources = (amd if target.startswith("gfx") else nvidia)(compiled)
        assert resources.spills == 0
        assert resources.registers <= 128, "four blocks of four warps stay resident"
