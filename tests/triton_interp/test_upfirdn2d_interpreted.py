"""upfirdn2d's Triton kernel, interpreted on the CPU: what the samples do not reach."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import fastgan
from fastgan.functional import upfirdn2d, upsample2d
from fastgan.ops.upfirdn2d import triton as kernels
from tests.ledger.launches import record_launches
from tests.tolerances import assert_close

pytestmark = pytest.mark.interpreter


def check(x: torch.Tensor, filter: torch.Tensor, **options: Any) -> list[str]:
    """Against the reference in float64; the kernels launched."""
    with record_launches() as launches, fastgan.use_backend("triton"):
        actual = upfirdn2d(x, filter, **options)
    with fastgan.use_backend("reference"):
        assert_close(actual, upfirdn2d(x.double(), filter, **options), x.dtype)
    return [launch.name for launch in launches]


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last], ids=str)
def test_several_blocks_and_groups_of_planes(layout: torch.memory_format, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernels, "_GROUP", 700)
    x = torch.randn(5, 3, 11, 7).contiguous(memory_format=layout)
    check(x, torch.randn(4), up=2, padding=2)
    check(x, torch.randn(3, 4), down=(2, 3), padding=(1, 2))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_long_separable_filters_go_in_two_passes(dtype: torch.dtype) -> None:
    x = torch.randn(2, 2, 7, 9).to(dtype)
    assert len(check(x, torch.randn(12), up=2, padding=(6, 5), gain=3.0)) == 2
    assert len(check(x, torch.randn(12), down=2, padding=(6, 5), flip_filter=True)) == 2
    assert len(check(x, torch.randn(4), up=2, padding=(6, 5))) == 1


def test_backward_outside_the_block_uses_the_same_backend() -> None:
    x = torch.randn(1, 2, 3, 4, requires_grad=True)
    with fastgan.use_backend("triton"):
        y = upsample2d(x, torch.ones(4))
    with record_launches() as launches:
        (grad,) = torch.autograd.grad(y.sum(), x)
    assert [launch.name for launch in launches] == ["upfirdn2d_kernel"]
    (expected,) = torch.autograd.grad(upsample2d(x, torch.ones(4)).sum(), x)
    assert_close(grad, expected, torch.float32)


def test_nan_and_infinity_stay_within_the_filter() -> None:
    x = torch.zeros(1, 1, 9, 9)
    x[0, 0, 4, 4] = float("inf")
    with fastgan.use_backend("triton"):
        y = upfirdn2d(x, torch.ones(3), padding=1)
    assert y[0, 0, 3:6, 3:6].isinf().all() and y.isfinite().sum() == 72
