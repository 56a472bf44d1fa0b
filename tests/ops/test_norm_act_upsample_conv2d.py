"""norm_act_upsample_conv2d against its two functions, and what it leaves to them."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from fastgan.functional import norm_act, norm_act_upsample_conv2d, upsample_conv2d
from fastgan.ops import resampling_choice
from tests.tolerances import assert_close


@pytest.mark.parametrize("small", [False, True])
@pytest.mark.parametrize("options", [{}, {"scale_factor": 3}, {"mode": "fir"}, {"padding": 0}, {"groups": 2}], ids=str)
def test_equals_the_two_functions(options: dict[str, Any], small: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    smallest = resampling_choice.Smallest(10**9 if small else 0, 0)
    monkeypatch.setitem(resampling_choice.SMALLEST, torch.float64, smallest)
    x, w = torch.randn(3, 4, 5, 6).double(), torch.randn(2, 4 // options.get("groups", 1), 3, 3).double()
    scale, shift = torch.randn(3, 4).double(), torch.randn(4).double()
    ours, theirs = ([torch.zeros(4).double(), torch.ones(4).double()] for _ in range(2))
    y, statistics = norm_act_upsample_conv2d(
        x, w, None, *ours, scale, shift, training=True, momentum=0.3, act="relu", return_statistics=True, **options
    )
    a = norm_act(x, *theirs, scale, shift, training=True, momentum=0.3, act="relu")
    expected = upsample_conv2d(a, w, return_statistics=True, **options)
    for actual, other in zip((y, statistics, *ours), (*expected, *theirs), strict=True):
        assert_close(actual, other, torch.float64)


def test_under_autocast_statistics_are_those_of_the_input_as_it_is() -> None:
    x, w = torch.randn(4, 3, 6, 6) * 1e-2 + 100, torch.randn(2, 3, 3, 3)
    running = torch.zeros(3), torch.zeros(3)
    with torch.autocast("cpu", torch.bfloat16):
        y = norm_act_upsample_conv2d(x, w, None, *running, training=True, momentum=1.0)
    assert y.dtype == torch.bfloat16
    assert_close(running[0], x.double().mean((0, 2, 3)), torch.float32)
    assert ((running[1] - x.double().var((0, 2, 3))) / running[1]).abs().max() < 1e-3


def test_bad_arguments_are_named_and_nothing_is_written() -> None:
    x, w, running = torch.randn(2, 3, 4, 4), torch.randn(2, 3, 3, 3), [torch.zeros(3), torch.ones(3)]
    wrong: list[tuple[type[Exception], str, dict[str, Any]]] = [
        (ValueError, r"weight must be \[C_out, 3, kH, kW\]", {"weight": w[:, :2]}),
        (ValueError, r"scale must be \[3\] or \[2, 3\]", {"scale": torch.ones(4)}),
        (TypeError, "shift must", {"shift": torch.ones(3).double()}),
        (ValueError, r"residual must be torch.float32 \[2, 2, 8, 8\]", {"residual": x}),
        (TypeError, "residual must have input's dtype", {"residual": x.double()}),
        (ValueError, "act must be one of linear, relu, lrelu, got 'gelu'", {"act": "gelu"}),
        (ValueError, "running_mean and running_var must be given together", {"running_var": None}),
    ]
    given = {"input": x, "weight": w, "running_mean": running[0], "running_var": running[1], "training": True}
    for kind, message, options in wrong:
        with pytest.raises(kind, match=f"norm_act_upsample_conv2d: {message}"):
            norm_act_upsample_conv2d(**{**given, **options})
    assert running[0].tolist() == [0.0] * 3 and running[1].tolist() == [1.0] * 3


@pytest.mark.parametrize(
    "options",
    [{"residual": torch.zeros(2, 5, 3, 3)}, {"scale_factor": 0}, {"mode": "cubic"}],
    ids=["residual", "scale_factor", "mode"],
)
@pytest.mark.parametrize("work", [0, 10**9], ids=["one op", "two ops"])
def test_a_call_that_is_refused_moves_no_statistics(
    options: dict[str, Any], work: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(resampling_choice.SMALLEST, torch.float32, resampling_choice.Smallest(work, 0))
    mean, var = torch.zeros(3), torch.ones(3)
    with pytest.raises((ValueError, RuntimeError)):
        norm_act_upsample_conv2d(
            torch.randn(2, 3, 4, 4) + 5, torch.randn(5, 3, 3, 3), None, mean, var, training=True, **options
        )
    assert torch.equal(mean, torch.zeros(3)) and torch.equal(var, torch.ones(3))
