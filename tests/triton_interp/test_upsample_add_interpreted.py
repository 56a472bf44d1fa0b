"""upsample_add's Triton kernel, interpreted on the CPU: what the samples do not reach."""

from __future__ import annotations

import pytest
import torch

from fastgan.ops import triton_images
from fastgan.ops.resampling import accumulator, moments
from fastgan.ops.upsample_add import reference
from fastgan.ops.upsample_add import triton as kernels
from tests.tolerances import assert_close

pytestmark = pytest.mark.interpreter


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last], ids=str)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64], ids=str)
def test_statistics_over_several_blocks(
    dtype: torch.dtype, layout: torch.memory_format, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(triton_images, "_BLOCKS", ((1 << 62, 64),))
    monkeypatch.setattr(triton_images, "_REDUCING_PROGRAMS", 6)
    x, low = (
        torch.randn(shape, dtype=torch.float64).to(dtype).contiguous(memory_format=layout)
        for shape in ((2, 5, 10, 6), (2, 5, 5, 3))
    )
    cut = triton_images.plan(x, 5, 6, reduces=True)
    assert cut.partials > 1 and 1 < cut.steps < 5, "several pieces of several rows"
    y, gathered = kernels.upsample_add(x, low, True)
    assert_close(y, reference.upsample_add(x.double(), low.double(), False)[0], dtype)
    assert gathered.dtype == accumulator(dtype)
    assert_close(gathered, moments(y.double()), accumulator(dtype), "statistics")


def test_an_empty_batch_has_statistics_of_nothing() -> None:
    _, gathered = kernels.upsample_add(torch.empty(0, 3, 4, 4), torch.empty(0, 3, 2, 2), True)
    assert torch.equal(gathered, torch.zeros(2, 3))
