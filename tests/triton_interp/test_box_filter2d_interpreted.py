"""box_filter2d's Triton kernel, interpreted on the CPU: what the samples do not reach."""

from __future__ import annotations

import pytest
import torch

from fastgan.ops import triton_images, triton_moments
from fastgan.ops.box_filter2d import cpu, reference
from fastgan.ops.box_filter2d import triton as kernels
from fastgan.ops.resampling import accumulator, moments
from tests.ledger.launches import record_launches
from tests.tolerances import assert_close

pytestmark = pytest.mark.interpreter

LAYOUTS = pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last], ids=str)


def images(*shape: int, dtype: torch.dtype, layout: torch.memory_format) -> torch.Tensor:
    return torch.randn(shape, dtype=torch.float64).to(dtype).contiguous(memory_format=layout)


@LAYOUTS
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64], ids=str)
@pytest.mark.parametrize("padding", [0, 1])
@pytest.mark.parametrize("has_residual", [False, True])
def test_bias_and_statistics_over_several_blocks(
    has_residual: bool, padding: int, dtype: torch.dtype, layout: torch.memory_format, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(triton_images, "_BLOCKS", ((1 << 62, 64),))
    monkeypatch.setattr(triton_images, "_REDUCING_PROGRAMS", 6)
    monkeypatch.setattr(triton_moments, "_BLOCK_ROWS", 2)
    x, bias = images(2, 5, 9, 8, dtype=dtype, layout=layout), torch.randn(5).to(dtype)
    residual = torch.randn(2, 5, 7 + 2 * padding + 1, 7 + 2 * padding).to(dtype) if has_residual else None
    gathered = torch.empty(2, 5, dtype=accumulator(dtype))
    with record_launches() as launches:
        y = kernels.box(x, padding, 0.5, bias=bias, residual=residual, statistics=gathered)
    # Statistics after a residual are torch's.
    expected = ["box_filter2d_kernel", *["merge_moments_kernel"] * (not has_residual)]
    assert [launch.name for launch in launches] == expected
    cut = triton_images.plan(x, y.shape[2], y.shape[3], reduces=True)
    assert cut.partials >= 4 and 1 < cut.steps < y.shape[2], "several pieces of several rows"
    exact = reference.box_filter2d(x.double(), None, "linear", 0.0, padding, 0.5) + bias.double()[:, None, None]
    exact += 0.0 if residual is None else residual.double()
    assert_close(y, exact, dtype)
    assert y.is_contiguous(memory_format=layout)
    assert_close(gathered, moments(y.double()), accumulator(dtype), "statistics")


@LAYOUTS
def test_statistics_of_numbers_far_from_zero(layout: torch.memory_format) -> None:
    """Squares of the numbers themselves would leave no digit of the variance."""
    x = images(3, 4, 6, 5, dtype=torch.float32, layout=layout) * 1e-2 + 1000
    gathered = torch.empty(2, 4)
    y = kernels.box(x, 0, 0.25, statistics=gathered)
    mean, m2 = moments(y.double())
    assert_close(gathered[0], mean, torch.float32)
    assert ((gathered[1] - m2) / m2).abs().max() < 1e-5


@LAYOUTS
def test_equals_the_cpu_s_statistics(layout: torch.memory_format) -> None:
    x = images(2, 3, 5, 4, dtype=torch.float32, layout=layout)
    ours, theirs = torch.empty(2, 3), torch.empty(2, 3)
    kernels.box(x, 1, statistics=ours)
    cpu.box(x, 1, statistics=theirs)
    assert_close(ours, theirs, torch.float32)


def test_an_empty_batch_has_statistics_of_nothing() -> None:
    gathered = torch.empty(2, 3)
    with record_launches() as launches:
        assert kernels.box(torch.empty(0, 3, 4, 4), 1, statistics=gathered).shape == (0, 3, 5, 5)
    assert launches == [] and torch.equal(gathered, torch.zeros(2, 3))


@pytest.mark.parametrize("act", ["relu", "lrelu"])
def test_nan_passes_an_activation(act: str) -> None:
    x = torch.full((1, 1, 2, 2), -1.0)
    x[0, 0, 1, 1] = torch.nan
    assert kernels.box_filter2d(x, None, act, 0.2, 0, 1.0).isnan().all()
