"""box_filter2d against a plain loop, with several threads, and what it refuses."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

import fastgan
from fastgan.functional import box_filter2d
from fastgan.ops.box_filter2d import cpu
from tests.tolerances import assert_close

FORMATS = [torch.contiguous_format, torch.channels_last]


def by_hand(x: Tensor, padding: int, scale: float) -> Tensor:
    n, c, h, w = x.shape
    out = torch.zeros(n, c, h - 1 + 2 * padding, w - 1 + 2 * padding, dtype=torch.float64)
    for i in range(out.shape[2]):
        for j in range(out.shape[3]):
            for a in (i - padding, i - padding + 1):
                for b in (j - padding, j - padding + 1):
                    if 0 <= a < h and 0 <= b < w:
                        out[:, :, i, j] += scale * x[:, :, a, b].double()
    return out


@pytest.mark.parametrize("layout", FORMATS, ids=str)
@pytest.mark.parametrize("padding", [0, 1])
@pytest.mark.parametrize("threads", [1, 2, 3])
def test_equals_a_plain_loop_whatever_the_threads(layout: torch.memory_format, padding: int, threads: int) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        for dtype in (torch.float64, torch.float32, torch.bfloat16):
            x = torch.randn(3, 40, 29, 17).to(dtype).contiguous(memory_format=layout)
            with fastgan.use_backend("cpu"):
                y = box_filter2d(x, padding=padding, scale=0.25)
            assert_close(y, by_hand(x, padding, 0.25), dtype)
            assert y.is_contiguous(memory_format=layout)
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("layout", FORMATS, ids=str)
@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("residual", [False, True])
def test_bias_and_statistics_of_the_cpu_kernel(residual: bool, layout: torch.memory_format, threads: int) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        x = torch.randn(4, 40, 29, 17).contiguous(memory_format=layout)
        bias = torch.randn(40) + 1e4
        statistics = torch.empty(2, 40)
        added = torch.randn(4, 40, 28, 16) if residual else None
        y = cpu.box(x, 0, bias=bias, residual=added, statistics=statistics)
    finally:
        torch.set_num_threads(before)
    expected = by_hand(x, 0, 1.0) + bias.double()[:, None, None]
    assert_close(y, expected if added is None else expected + added, torch.float32)
    mean = y.double().mean((0, 2, 3))
    assert_close(statistics[0], mean, torch.float32)
    assert_close(statistics[1], (y.double() - mean[:, None, None]).square().sum((0, 2, 3)), torch.float32)


@pytest.mark.parametrize("backend", ["cpu", "reference"])
def test_nan_and_infinity_reach_their_neighbours_only(backend: str) -> None:
    x = torch.zeros(1, 1, 5, 5)
    x[0, 0, 2, 2], x[0, 0, 0, 0] = float("nan"), float("inf")
    with fastgan.use_backend(backend):
        y = box_filter2d(x, act="relu")
    expected = torch.zeros(4, 4)
    expected[1:3, 1:3], expected[0, 0] = float("nan"), float("inf")
    assert torch.equal(y[0, 0].nan_to_num(7.0), expected.nan_to_num(7.0))


def test_the_slope_is_all_that_is_saved_of_an_activation() -> None:
    x = torch.randn(1, 2, 4, 4, requires_grad=True)
    saved: list[Tensor] = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: saved.append(t) or t, lambda t: t):
        box_filter2d(x)
        assert saved == []
        box_filter2d(x, act="relu")
    assert [t.data_ptr() for t in saved] == [x.data_ptr()]


def test_bad_arguments_are_named() -> None:
    x = torch.randn(1, 2, 4, 4)
    wrong: list[tuple[type[Exception], str, Tensor, dict[str, Any]]] = [
        (ValueError, r"input must be \[N, C, H, W\], got \[2, 4, 4\]", x[0], {}),
        (ValueError, "padding must be 0 or 1, got 2", x, {"padding": 2}),
        (ValueError, "act must be one of linear, relu, lrelu, got 'tanh'", x, {"act": "tanh"}),
        (ValueError, "alpha must be None for act='relu'", x, {"act": "relu", "alpha": 0.1}),
        (TypeError, "scale must be a number, got str", x, {"scale": "2"}),
        (ValueError, "input must have at least 2 rows and columns for padding=0", x[:, :, :1], {}),
        (TypeError, "input must be float32.*got torch.int64", x.long(), {}),
    ]
    for kind, message, input, options in wrong:
        with pytest.raises(kind, match=f"box_filter2d: {message}"):
            box_filter2d(input, **options)
