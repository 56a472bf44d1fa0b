"""norm_act's Triton kernels, interpreted on the CPU: what the samples do not reach."""

from __future__ import annotations

import pytest
import torch

import fastgan
from fastgan.functional import norm_act
from fastgan.ops.norm_act import triton as kernels
from fastgan.ops.norm_act import triton_plan
from tests.ledger.launches import record_launches
from tests.tolerances import assert_close

pytestmark = pytest.mark.interpreter

LAYOUTS = [torch.contiguous_format, torch.channels_last]


def check(shape: tuple[int, ...], layout: torch.memory_format, norm: str, mean: float = 0.0) -> None:
    """Forward and backward, against the reference in float64."""
    x = (torch.randn(shape) + mean).contiguous(memory_format=layout)
    weight, bias, grad = *torch.randn(2, *shape[:2]), torch.randn(shape).contiguous(memory_format=layout)
    results = []
    for backend, dtype in (("triton", torch.float32), ("reference", torch.float64)):
        leaves = [t.to(dtype).requires_grad_() for t in (x, weight, bias)]
        with fastgan.use_backend(backend):
            y = norm_act(leaves[0], None, None, *leaves[1:], training=norm != "pixel", norm=norm, act="lrelu")
        results.append([y, *torch.autograd.grad(y, leaves, grad.to(dtype))])
    for actual, expected in zip(*results, strict=True):
        assert_close(actual, expected, torch.float32)


@pytest.mark.parametrize("norm", ["batch", "instance", "pixel"])
@pytest.mark.parametrize("layout", LAYOUTS, ids=str)
@pytest.mark.parametrize("shape", [(2, 70, 9, 3), (3, 5, 33, 37)], ids=str)
def test_several_tiles(shape: tuple[int, ...], layout: torch.memory_format, norm: str) -> None:
    check(shape, layout, norm)


@pytest.mark.parametrize("norm", ["batch", "pixel"])
@pytest.mark.parametrize("layout", LAYOUTS, ids=str)
def test_programs_that_take_several_steps(
    norm: str, layout: torch.memory_format, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(triton_plan, "_REDUCING_PROGRAMS", 2)
    monkeypatch.setattr(triton_plan, "_TILES", ((1 << 62, 64),))
    taken = []
    cut = triton_plan.plan
    monkeypatch.setattr(kernels, "plan", lambda *args, **kwargs: taken.append(cut(*args, **kwargs)) or taken[-1])
    check((2, 6, 13, 11), layout, norm)
    assert any(plan.steps > 1 for plan in taken)


@pytest.mark.parametrize("layout", LAYOUTS, ids=str)
def test_more_parts_than_one_block_merges(layout: torch.memory_format, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(triton_plan, "_TILES", ((1 << 62, 64),))
    monkeypatch.setattr(kernels, "_MERGED_ROWS", 4)
    check((3, 2, 15, 15), layout, "batch")


@pytest.mark.parametrize("layout", LAYOUTS, ids=str)
@pytest.mark.parametrize("norm", ["batch", "instance"])
def test_statistics_survive_a_large_mean(norm: str, layout: torch.memory_format) -> None:
    x = (torch.randn(4, 3, 30, 30, dtype=torch.float64) + 1e4).float().contiguous(memory_format=layout)
    args = (None, None, None, None, norm, "linear", 0.0, 1.0, 1e-5, None)
    _, mean, variance, _ = kernels.norm_act(x, *args)
    exact_variance, exact_mean = torch.var_mean(x.double(), (0, 2, 3) if norm == "batch" else (2, 3), correction=0)
    # E[x²] - E[x]² would be off by several times the variance itself.
    assert ((variance - exact_variance) / exact_variance).abs().max() < 1e-6
    assert ((mean - exact_mean) / exact_mean).abs().max() < 1e-6


def test_launches_of_a_training_step() -> None:
    x = torch.randn(2, 3, 4, 4, requires_grad=True)
    weight, bias = torch.ones(3, requires_grad=True), torch.zeros(3, requires_grad=True)
    with fastgan.use_backend("triton"), record_launches() as launches:
        y = norm_act(x, None, None, weight, bias, training=True, act="relu")
    with record_launches() as backward:  # outside the block: the same backend
        y.sum().backward()
    names = [launch.name for launch in launches + backward]
    assert names == [f"norm_act_{name}_kernel" for name in ("statistics", "merge", "fwd", "sums", "bwd")]
