"""upsample_add against interpolation and addition, with several threads, and what it refuses."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

import fastgan
from fastgan.functional import upsample_add
from fastgan.ops.upsample_add import upsample_add as upsample_add_op
from tests.tolerances import assert_close


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last], ids=str)
@pytest.mark.parametrize("threads", [1, 2, 3])
def test_equals_torch_with_its_statistics_whatever_the_threads(layout: torch.memory_format, threads: int) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        x, low = torch.randn(3, 20, 34, 22) + 1e4, torch.randn(3, 20, 17, 11)
        x, low = x.contiguous(memory_format=layout), low.contiguous(memory_format=layout)
        y, statistics = upsample_add_op(x, low, True, "cpu")
    finally:
        torch.set_num_threads(before)
    assert torch.equal(y, x + F.interpolate(low, scale_factor=2))
    assert y.is_contiguous(memory_format=layout)
    mean = y.double().mean((0, 2, 3))
    assert_close(statistics[0], mean, torch.float32)
    assert_close(statistics[1], (y.double() - mean[:, None, None]).square().sum((0, 2, 3)), torch.float32)


def test_bad_arguments_are_named() -> None:
    x, low = torch.randn(1, 2, 8, 8), torch.randn(1, 2, 4, 4)
    with pytest.raises(ValueError, match=r"upsample_add: input must be \[1, 2, 8, 8\] to match low.*\[1, 2, 8, 6\]"):
        upsample_add(x[..., :6], low)
    with pytest.raises(ValueError, match=r"upsample_add: low must be \[N, C, H, W\], got \[2, 4, 4\]"):
        upsample_add(x, low[0])
    with pytest.raises(TypeError, match="upsample_add: low must have input's dtype"):
        upsample_add(x, low.double())
    with pytest.raises(TypeError, match="upsample_add: input must be float32"):
        upsample_add(x.int(), low)


def test_under_autocast_low_follows_input() -> None:
    x, low = torch.randn(1, 2, 4, 4).bfloat16(), torch.randn(1, 2, 2, 2)
    with torch.autocast("cpu", torch.bfloat16), fastgan.use_backend("cpu"):
        assert upsample_add(x, low).dtype == torch.bfloat16
