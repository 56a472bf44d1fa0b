"""Maximum mean discrepancies against the formulas with whole matrices."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from fastgan.functional import distances, gaussian_mmd, polynomial_mmd


@pytest.fixture(autouse=True, params=[5, 1024])
def _tile(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(distances, "TILE", request.param)


def _sets(n: int = 23, m: int = 17, d: int = 6) -> tuple[Tensor, Tensor]:
    return torch.randn(n, d, dtype=torch.float64), 1.2 * torch.randn(m, d, dtype=torch.float64) + 0.3


def _discrepancy(xx: Tensor, yy: Tensor, xy: Tensor, with_itself: bool) -> Tensor:
    def within(kernel: Tensor) -> Tensor:
        n = len(kernel)
        return kernel.mean() if with_itself else (kernel.sum() - kernel.trace()) / (n * (n - 1))

    return within(xx) + within(yy) - 2 * xy.mean()


@pytest.mark.parametrize("options", [{}, {"degree": 1}, {"degree": 2, "gamma": 0.3, "coef": 0.5}])
def test_polynomial(options: dict[str, float]) -> None:
    x, y = _sets()
    degree, gamma, coef = options.get("degree", 3), options.get("gamma", 1 / 6), options.get("coef", 1.0)
    kernels = [(gamma * a @ b.T + coef) ** degree for a, b in ((x, x), (y, y), (x, y))]
    expected = _discrepancy(*kernels, with_itself=False)
    torch.testing.assert_close(polynomial_mmd(x, y, **options), expected, rtol=1e-12, atol=0)  # type: ignore[arg-type]


def test_polynomial_is_unbiased() -> None:
    """Over all ways to split eight samples into halves, estimates of a distance that is zero sum to zero."""
    from itertools import combinations

    x = torch.randn(8, 3, dtype=torch.float64)
    halves = [list(half) for half in combinations(range(8), 4)]
    estimates = [polynomial_mmd(x[half], x[[i for i in range(8) if i not in half]]) for half in halves]
    assert min(estimates) < 0 and abs(sum(estimates)) < 1e-12 * sum(map(abs, estimates))


@pytest.mark.parametrize("sigma", [0.7, 10.0])
@pytest.mark.parametrize("offset", [0.0, 1e5])
def test_gaussian(sigma: float, offset: float) -> None:
    x, y = (samples + offset for samples in _sets())
    pairs = ((x, x), (y, y), (x, y))
    kernels = [torch.exp((a[:, None] - b).square().sum(-1) / (-2 * sigma**2)) for a, b in pairs]
    expected = _discrepancy(*kernels, with_itself=True)
    torch.testing.assert_close(gaussian_mmd(x, y, sigma), expected, rtol=1e-11, atol=0)


def test_wide_gaussian_does_not_cancel() -> None:
    """With sigma far beyond all distances it is |difference of means|² / sigma², to that order."""
    x, y = _sets()
    expected = (x.mean(0) - y.mean(0)).square().sum() / 1e4**2
    torch.testing.assert_close(gaussian_mmd(x, y, 1e4), expected, rtol=1e-6, atol=0)


def test_same_samples_are_at_no_distance() -> None:
    x, _ = _sets()
    assert abs(gaussian_mmd(x, x.flip(0))) < 1e-15


def test_bad_input_is_named() -> None:
    x = torch.randn(4, 3)
    with pytest.raises(ValueError, match=r"y must be at least two samples, got \[1, 3\]"):
        polynomial_mmd(x, x[:1])
    with pytest.raises(ValueError, match="degree must be at least 1, got 0"):
        polynomial_mmd(x, x, degree=0)
    with pytest.raises(TypeError, match="gamma must be a number or None, got str"):
        polynomial_mmd(x, x, gamma="auto")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="sigma must be positive, got 0"):
        gaussian_mmd(x, x, 0)
    with pytest.raises(ValueError, match="y must be finite"):
        gaussian_mmd(x, x / 0)
