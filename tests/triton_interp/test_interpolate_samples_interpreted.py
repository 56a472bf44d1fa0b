"""interpolate_samples' Triton kernels, interpreted on the CPU: what the samples do not reach."""

from __future__ import annotations

import pytest
import torch

from fastgan.ops import triton_samples
from fastgan.ops.interpolate_samples import reference
from fastgan.ops.interpolate_samples import triton as kernels
from tests.tolerances import assert_close

pytestmark = pytest.mark.interpreter


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64], ids=str)
def test_several_blocks_of_a_sample(dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(triton_samples, "_BLOCKS", ((1 << 62, 32),))
    x, y = torch.randn(3, 101).to(dtype), torch.randn(3, 101).to(dtype)
    eps = torch.rand(3, dtype=torch.float64 if dtype == torch.float64 else torch.float32)
    assert triton_samples.plan(x).pieces > 3
    wide = eps.double()
    actual = kernels.interpolate_samples(x, y, eps)
    assert_close(actual, reference.interpolate_samples(x.double(), y.double(), wide), dtype)
    expected = reference.interpolate_samples_backward(x.double(), wide, True, True)
    for wanted in ((True, True), (True, False), (False, True)):
        for a, e, is_wanted in zip(
            kernels.interpolate_samples_backward(x, eps, *wanted), expected, wanted, strict=True
        ):
            assert_close(a, e if is_wanted else torch.empty(0), dtype)
