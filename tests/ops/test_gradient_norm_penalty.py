"""gradient_norm_penalty against what a training step would write, at its kinks, and what it refuses."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

import fastgan
from fastgan.functional import gradient_norm_penalty
from tests.tolerances import assert_close

KINDS: list[dict[str, Any]] = [{}, {"center": 1.0}, {"center": 30.0}, {"center": 30.0, "one_sided": True}]


@pytest.fixture(params=["cpu", "reference"])
def backend(request: pytest.FixtureRequest) -> Any:
    with fastgan.use_backend(request.param):
        yield request.param


def stock(g: Tensor, weight: float, center: float | None = None, one_sided: bool = False) -> Tensor:
    norm = g.flatten(1).norm(2, dim=1)
    beyond = norm - (center or 0.0)
    return weight * (beyond.relu() if one_sided else beyond).square().sum()


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_equals_a_penalty_written_out(kind: dict[str, Any], backend: str) -> None:
    g = torch.randn(6, 3, 17, 19, dtype=torch.float64, requires_grad=True)
    penalty, scale = gradient_norm_penalty(g, weight=0.3, return_scale=True, **kind)
    expected = stock(g, 0.3, **kind)
    assert_close(penalty, expected, torch.float64)
    assert not scale.requires_grad
    actual = torch.autograd.grad(2.5 * penalty, g)[0]
    assert_close(actual, torch.autograd.grad(2.5 * expected, g)[0], torch.float64)
    assert_close(actual, 2.5 * scale.view(-1, 1, 1, 1) * g, torch.float64)
    assert torch.equal(gradient_norm_penalty(g, weight=0.3, **kind), penalty)


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_third_derivatives(kind: dict[str, Any], backend: str) -> None:
    g = torch.randn(2, 3, dtype=torch.float64).mul(20).requires_grad_()

    def second(g: Tensor) -> Tensor:
        (first,) = torch.autograd.grad(gradient_norm_penalty(g, weight=0.3, **kind), g, create_graph=True)
        return torch.autograd.grad((first * first.detach().cos()).sum(), g, create_graph=True)[0]

    (first,) = torch.autograd.grad(stock(g, 0.3, **kind), g, create_graph=True)
    (expected,) = torch.autograd.grad((first * first.detach().cos()).sum(), g, create_graph=True)
    assert_close(second(g), expected, torch.float64)
    seed, found = torch.randn_like(g), second(g)
    exact = torch.autograd.grad(expected, g, seed, allow_unused=True)[0]
    third = torch.autograd.grad(found, g, seed, allow_unused=True)[0] if found.requires_grad else None
    assert third is not None or not kind, "of squares it is undefined"
    filled = [torch.zeros_like(g) if x is None else x for x in (third, exact)]
    assert_close(filled[0], filled[1], torch.float64)


@pytest.mark.parametrize("kind", [{}, {"center": 0.0}, {"center": 1.0}, {"center": 1.0, "one_sided": True}], ids=str)
def test_nothing_is_nan_where_a_gradient_is_zero(kind: dict[str, Any], backend: str) -> None:
    g = torch.randn(3, 5)
    g[1] = 0
    g.requires_grad_()
    penalty = gradient_norm_penalty(g, weight=0.5, **kind)
    (first,) = torch.autograd.grad(penalty, g, create_graph=True)
    seed = torch.randn_like(g).requires_grad_()
    (second,) = torch.autograd.grad(first, g, seed, create_graph=True)
    third = torch.autograd.grad(second, seed, torch.ones_like(g))[0]
    assert penalty.isfinite() and first.isfinite().all() and second.isfinite().all() and third.isfinite().all()
    assert (first[1] == 0).all()
    assert_close(penalty, stock(g, 0.5, **kind), torch.float32)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
@pytest.mark.parametrize("kind", [{}, {"center": 1.0}, {"center": 1.0, "one_sided": True}], ids=str)
def test_what_is_not_finite_shows(kind: dict[str, Any], bad: float, backend: str) -> None:
    g = torch.randn(3, 5)
    g[2, 3] = bad
    penalty, scale = gradient_norm_penalty(g, weight=0.5, return_scale=True, **kind)
    assert not penalty.isfinite() and scale[:2].isfinite().all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32], ids=str)
def test_sums_are_in_float32_and_the_same_whatever_the_threads(dtype: torch.dtype) -> None:
    """A sum of 40,000 squares is beyond float16, and in bfloat16 its small addends would be lost."""
    g = (3 * torch.randn(3, 40_011)).to(dtype)
    expected = stock(g.double(), 0.01, 5.0)
    results = []
    for threads in (1, 2, 3):
        before = torch.get_num_threads()
        torch.set_num_threads(threads)
        try:
            with fastgan.use_backend("cpu"):
                results.append(gradient_norm_penalty(g, weight=0.01, center=5.0, return_scale=True))
        finally:
            torch.set_num_threads(before)
    for penalty, scale in results:
        assert penalty.dtype == scale.dtype == torch.float32
        assert_close(penalty, expected, torch.float32)
        assert torch.equal(penalty, results[0][0]) and torch.equal(scale, results[0][1])


def test_bad_arguments_are_named() -> None:
    g = torch.randn(3, 4)
    with pytest.raises(ValueError, match=r"gradient_norm_penalty: gradient must be \[N, \.\.\.\]"):
        gradient_norm_penalty(torch.tensor(1.0), weight=1.0)
    with pytest.raises(TypeError, match="gradient_norm_penalty: gradient must be float32"):
        gradient_norm_penalty(g.int(), weight=1.0)
    with pytest.raises(TypeError, match="gradient_norm_penalty: weight must be a number, got str"):
        gradient_norm_penalty(g, weight="1")  # type: ignore[call-overload]
    with pytest.raises(ValueError, match="gradient_norm_penalty: center must be None or at least 0, got -1"):
        gradient_norm_penalty(g, weight=1.0, center=-1)
    with pytest.raises(ValueError, match="gradient_norm_penalty: center must be a number where one_sided is True"):
        gradient_norm_penalty(g, weight=1.0, one_sided=True)
