"""polar_factor against singular values in float64: quintics, spectra, what the residual tells, what is refused."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

import fastgan
from fastgan.functional import polar_factor
from fastgan.ops.polar_factor.quintics import FEWEST_STEPS, minimax_quintic, quintics

#: The largest errors of the nuclear norm, relative, that the documentation gives.
ERROR = {torch.float32: 1e-5, torch.float64: 1e-12}
each_dtype = pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)


def with_singular_values(values: Tensor) -> Tensor:
    n = len(values)
    left, right = (torch.linalg.qr(torch.randn(n, n, dtype=torch.float64)).Q for _ in range(2))
    return (left * values) @ right


def composed(chosen: tuple[tuple[float, float, float], ...], x: Tensor) -> Tensor:
    for a, b, c in chosen:
        x = x * (a + b * x**2 + c * x**4)
    return x


@pytest.mark.parametrize(("lower", "upper"), [(1e-6, 1.0), (1e-3, 1.02), (0.1, 1.9), (0.5, 1.5), (0.999, 1.001)])
def test_the_quintic_is_minimax(lower: float, upper: float) -> None:
    """Its error takes its largest size at four points with signs in turn: by Chebyshev's theorem none does better."""
    x = torch.linspace(lower, upper, 200_001, dtype=torch.float64)
    error = 1 - composed((minimax_quintic(lower, upper),), x)
    largest = error.abs().max()
    # The largest size is known within a part in a million, and within the rounding of values near 1.
    touching = error[error.abs() > largest * (1 - 1e-6) - 8 * torch.finfo(torch.float64).eps].sign()
    assert (touching.diff() != 0).sum() == 3


@each_dtype
@pytest.mark.parametrize("steps", range(FEWEST_STEPS, 15))
def test_the_quintics_arrive_at_one_whatever_rounding_does(steps: int, dtype: torch.dtype) -> None:
    smallest, chosen = quintics(steps, dtype)
    assert len(chosen) == steps and smallest <= 4.0 ** (3 - steps)
    x = torch.logspace(math.log10(smallest), 0, 50_001, dtype=torch.float64)
    assert (composed(chosen, x) - 1).abs().max() <= 4 * torch.finfo(dtype).eps
    noise = 1e-4 * torch.randn(steps, len(x), dtype=torch.float64).clamp(-3, 3)
    for quintic, factor in zip(chosen, 1 + noise, strict=True):
        x = composed((quintic,), x) * factor
    assert (x - 1).abs().max() <= 4e-4, "a singular value beyond its interval runs away"


@each_dtype
@pytest.mark.parametrize("n", [1, 2, 17, 96])
def test_spectra_that_arrive(n: int, dtype: torch.dtype) -> None:
    """Every direction within reach: orthogonal factor, nuclear norm, and its gradient are those of the SVD."""
    scale = torch.arange(n, dtype=torch.float64) / max(1, n - 1)
    for values in (1 + scale, torch.ones(n).double(), 10.0 ** (-3 * scale), 7 * (1 - 0.9 * (scale > 0.5).double())):
        matrix = with_singular_values(values).to(dtype).requires_grad_()
        polar, nuclear_norm, residual = polar_factor(matrix)
        left, exact, right = torch.linalg.svd(matrix.detach().double())
        assert abs(nuclear_norm.item() / exact.sum().item() - 1) <= ERROR[dtype]
        assert residual <= 2 * ERROR[dtype] * exact.sum()
        # A direction's own rounding is divided by its singular value.
        bound = ERROR[dtype] / (exact.min() / exact.max()).item()
        assert (polar.double() - left @ right).abs().max() <= bound
        (grad,) = torch.autograd.grad(nuclear_norm, matrix)
        assert torch.equal(grad, polar)


@each_dtype
@pytest.mark.parametrize("steps", [8, 10, 12])
def test_the_residual_tells_what_is_missing(steps: int, dtype: torch.dtype) -> None:
    """Of singular values too small for the steps, and none of those that are zero."""
    n = 64
    scale = torch.arange(n, dtype=torch.float64) / (n - 1)
    for values in (10.0 ** (-12 * scale), 10.0 ** (-7 * scale) * (scale < 0.7), (scale == 0).double()):
        polar, nuclear_norm, residual = polar_factor(with_singular_values(values).to(dtype), steps=steps)
        error = (values.sum() - nuclear_norm.double()).item()
        rounding = 20 * torch.finfo(dtype).eps * values.sum().item()
        assert -rounding <= error <= 3 * residual.item() + rounding
        assert residual.item() <= 3 * abs(error) + rounding
        assert (polar.mT @ polar - torch.eye(n, dtype=dtype)).norm() > 0 and polar.isfinite().all()


def test_second_derivatives_are_those_of_the_singular_values() -> None:
    matrix = with_singular_values(torch.linspace(1, 2, 5, dtype=torch.float64)).requires_grad_()
    cotangent = torch.randn(5, 5, dtype=torch.float64)
    results = []
    for norm in (polar_factor(matrix).nuclear_norm, torch.linalg.svdvals(matrix).sum()):
        (grad,) = torch.autograd.grad(norm, matrix, create_graph=True)
        results.append(torch.autograd.grad((grad * cotangent).sum(), matrix)[0])
    torch.testing.assert_close(*results, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("factor", [1e-30, 1e30])
def test_sizes_at_the_ends_of_float32(factor: float) -> None:
    matrix = with_singular_values(torch.linspace(1, 2, 8).double()).float()
    plain, scaled = polar_factor(matrix), polar_factor(matrix * factor)
    torch.testing.assert_close(scaled.polar, plain.polar, rtol=0, atol=2e-6)
    torch.testing.assert_close(scaled.nuclear_norm / factor, plain.nuclear_norm, rtol=2e-6, atol=0)


def test_zero_and_what_is_not_finite() -> None:
    matrices = torch.stack([torch.zeros(4, 4), torch.eye(4), torch.eye(4), torch.eye(4)]).requires_grad_()
    with torch.no_grad():
        matrices[2, 1, 3], matrices[3, 0, 0] = torch.nan, torch.inf
    polar, nuclear_norm, residual = polar_factor(matrices)
    assert not polar[0].any() and nuclear_norm[0] == 0 and residual[0] == 0
    torch.testing.assert_close(polar[1], torch.eye(4))
    assert polar[2:].isnan().all() and nuclear_norm[2:].isnan().all() and residual[2:].isnan().all()
    (grad,) = torch.autograd.grad(nuclear_norm[0], matrices)
    assert not grad[0].any()


def test_only_the_nuclear_norm_has_a_derivative() -> None:
    result = polar_factor(torch.randn(2, 3, 3, requires_grad=True))
    assert [x.requires_grad for x in result] == [False, True, False]
    half = polar_factor(torch.randn(3, 3, dtype=torch.bfloat16))
    assert [x.dtype for x in half] == [torch.bfloat16, torch.float32, torch.float32]


def test_bad_arguments_are_named() -> None:
    with pytest.raises(ValueError, match=r"polar_factor: matrix must be \[\.\.\., n, n\], got \[2, 3, 4\]"):
        polar_factor(torch.randn(2, 3, 4))
    with pytest.raises(ValueError, match=r"polar_factor: matrix must be \[\.\.\., n, n\], got \[3\]"):
        polar_factor(torch.randn(3))
    with pytest.raises(TypeError, match="polar_factor: matrix must be float32"):
        polar_factor(torch.ones(3, 3, dtype=torch.int64))
    with pytest.raises(TypeError, match="polar_factor: steps must be an integer, got float"):
        polar_factor(torch.eye(3), steps=8.0)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="polar_factor: steps must be at least 4, got 3"):
        polar_factor(torch.eye(3), steps=3)
    with fastgan.use_backend("cpu"), pytest.raises(RuntimeError, match="polar_factor has no cpu backend"):
        polar_factor(torch.eye(3))


@pytest.mark.parametrize("steps", [18, 26, 40])
def test_many_steps_reach_what_float64_resolves(steps: int) -> None:
    u, _ = torch.linalg.qr(torch.randn(6, 6, dtype=torch.float64))
    values = torch.tensor([1.0, 1e-2, 1e-4, 1e-6, 1e-8, 1e-9], dtype=torch.float64)
    found = polar_factor(u * values, steps=steps)
    torch.testing.assert_close(found.polar, u, rtol=0, atol=1e-6)
    assert (found.nuclear_norm - values.sum()).abs() < 1e-14
