"""minibatch_stddev, and the module of it, against the definition in loops."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

import fastgan.nn
from fastgan.functional import minibatch_stddev
from tests.tolerances import assert_close


def definition(x: Tensor, group_size: int | None, num_channels: int) -> Tensor:
    """Group by group, part by part."""
    batch, channels = x.shape[:2]
    size = batch if group_size is None else min(group_size, batch)
    groups, part = batch // size, channels // num_channels
    appended = torch.zeros(batch, num_channels, *x.shape[2:], dtype=x.dtype)
    for g in range(groups):
        members = x[g::groups]
        for k in range(num_channels):
            features = members[:, k * part : (k + 1) * part]
            variance = (features - features.mean(0)).square().mean(0)
            appended[g::groups, k] = (variance + 1e-8).sqrt().mean()
    return torch.cat([x, appended], 1)


CASES = [(4, 4, 1), (8, 4, 2), (6, 3, 1), (6, None, 3), (3, 4, 1), (2, 1, 1)]


@pytest.mark.parametrize(("batch", "group_size", "num_channels"), CASES)
def test_value_and_derivatives_equal_the_definition(batch: int, group_size: int | None, num_channels: int) -> None:
    x = torch.randn(batch, 6, 3, 2, dtype=torch.float64, requires_grad=True)
    results = []
    for function in (minibatch_stddev, definition):
        y = function(x, group_size, num_channels)
        (first,) = torch.autograd.grad((y**3).sum(), x, create_graph=True)
        (second,) = torch.autograd.grad(first.square().sum(), x)
        results.append((y, first, second))
    for a, e in zip(*results, strict=True):
        assert_close(a, e, torch.float64)


def test_gradgradcheck() -> None:
    x = torch.randn(4, 2, 2, 1, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: minibatch_stddev(x, 2, 2), x)
    assert torch.autograd.gradgradcheck(lambda x: minibatch_stddev(x, 2, 2), x)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16], ids=str)
def test_dtypes(dtype: torch.dtype) -> None:
    x = torch.randn(4, 3, 5, 4).to(dtype)
    y = minibatch_stddev(x)
    assert y.dtype == dtype
    assert_close(y, definition(x.double(), 4, 1), dtype)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16], ids=str)
def test_equal_samples_have_finite_derivatives(dtype: torch.dtype) -> None:
    x = torch.ones(4, 3, 2, 2, dtype=dtype, requires_grad=True)
    (first,) = torch.autograd.grad(minibatch_stddev(x).float().square().sum(), x, create_graph=True)
    (second,) = torch.autograd.grad(first.float().square().sum(), x)
    assert first.isfinite().all() and second.isfinite().all()


@pytest.mark.parametrize("num_channels", [1, 2])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last], ids=str)
def test_layout_is_kept(layout: torch.memory_format, num_channels: int) -> None:
    x = torch.randn(4, 6, 3, 5).contiguous(memory_format=layout)
    y = minibatch_stddev(x, num_channels=num_channels)
    assert y.is_contiguous(memory_format=layout) and torch.equal(y[:, :6], x)


def test_empty_batch_and_compile() -> None:
    assert minibatch_stddev(torch.randn(0, 6, 3, 5), num_channels=2).shape == (0, 8, 3, 5)
    x = torch.randn(4, 6, 3, 5)
    compiled = torch.compile(minibatch_stddev, fullgraph=True, dynamic=True, backend="aot_eager")
    assert_close(compiled(x), minibatch_stddev(x), torch.float32)


def test_module() -> None:
    x = torch.randn(6, 4, 3, 3)
    module = fastgan.nn.MinibatchStdDev(group_size=3, num_channels=2)
    assert torch.equal(module(x), minibatch_stddev(x, 3, 2))
    assert repr(module) == "MinibatchStdDev(group_size=3, num_channels=2)"
    assert not module.state_dict()


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"input": torch.ones(2, 3, dtype=torch.int32)}, TypeError, "input must be float32"),
        ({"input": torch.ones(4, 3)}, ValueError, r"input must be \[N, C, H, W\], got \[4, 3\]"),
        ({"group_size": 3}, ValueError, r"group_size must divide the batch of input \[4, 6, 2, 2\], got 3"),
        ({"group_size": 0}, ValueError, "group_size must be at least 1, got 0"),
        ({"group_size": 2.0}, TypeError, "group_size must be an integer, got float"),
        ({"num_channels": 4}, ValueError, r"num_channels must divide the channels of input \[4, 6, 2, 2\], got 4"),
        ({"num_channels": None}, TypeError, "num_channels must be an integer, got NoneType"),
    ],
)
def test_errors_name_the_argument(arguments: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=f"^minibatch_stddev: {message}"):
        minibatch_stddev(**{"input": torch.randn(4, 6, 2, 2), **arguments})
