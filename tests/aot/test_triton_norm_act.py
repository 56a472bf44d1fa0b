"""norm_act's Triton kernels, compiled for NVIDIA and AMD with no GPU, as the launchers launch them."""

from __future__ import annotations

import pytest
import torch

pytest.importorskip("triton")

import fastgan
from fastgan.functional import norm_act
from tests.aot.test_triton_bias_act import TARGETS, compile_and_read
from tests.ledger.launches import Launch, record_launches

pytestmark = pytest.mark.aot

LARGE = (16, 128, 32, 32)
CASES = [
    ("batch", LARGE, torch.float32, torch.contiguous_format),
    ("batch", LARGE, torch.bfloat16, torch.channels_last),
    ("batch", (3, 13, 7, 7), torch.float64, torch.contiguous_format),  # sizes that are no multiple of 16
    ("pixel", (16, 512, 16, 16), torch.float32, torch.contiguous_format),
]
#: Tensors read and written once for each element.
STREAMS = {"norm_act_fwd_kernel": (1, 1), "norm_act_bwd_kernel": (2, 1), "norm_act_sums_kernel": (2, 0)}


def launches_of(norm: str, shape: tuple[int, ...], dtype: torch.dtype, layout: torch.memory_format) -> list[Launch]:
    """Of forward and backward through the public function; nothing runs."""
    x = torch.zeros(shape, dtype=dtype).contiguous(memory_format=layout).requires_grad_()
    weight, bias = (torch.zeros(shape[:2], dtype=dtype, requires_grad=True) for _ in range(2))
    with record_launches() as launches:
        with fastgan.use_backend("triton"):
            y = norm_act(x, weight=weight, bias=bias, training=True, norm=norm, act="lrelu")
        torch.autograd.grad(y, (x, weight, bias), torch.zeros_like(y))
    return launches


@pytest.mark.proves("compiled", op="norm_act", backend="triton", derivatives=("forward", "backward"))
@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize(("norm", "shape", "dtype", "layout"), CASES, ids=str)
def test_no_spills_and_wide_accesses(
    norm: str, shape: tuple[int, ...], dtype: torch.dtype, layout: torch.memory_format, target: str
) -> None:
    launches = launches_of(norm, shape, dtype, layout)
    names = [launch.name.removeprefix("norm_act_").removesuffix("_kernel") for launch in launches]
    assert names == (["statistics", "merge", "fwd", "sums", "bwd"] if norm == "batch" else ["pixel_fwd", "pixel_bwd"])
    for launch in launches:
        resources = compile_and_read(launch, target)
        assert resources.spills == 0, launch.name
        assert resources.registers <= 168, launch.name
        if launch.name not in STREAMS or shape != LARGE:
            continue
        threads = launch.num_warps * TARGETS[target].warp_size
        wide = launch.constants["C"] * launch.constants["P"] * dtype.itemsize // (16 * threads)
        loads, stores = STREAMS[launch.name]
        assert wide >= 1
        assert resources.wide_loads >= loads * wide, launch.name
        assert resources.wide_stores >= stores * wide, launch.name
