"""The Fréchet distance against closed forms and scipy's matrix square root."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.linalg
import torch

from fastgan.metrics.frechet import frechet_distance


def _features(n: int, d: int, seed: int) -> torch.Tensor:
    random = torch.Generator().manual_seed(seed)
    mix = torch.randn(d, d, generator=random, dtype=torch.float64)
    return torch.randn(n, d, generator=random, dtype=torch.float64) @ mix + seed


def test_against_sqrtm_with_more_samples_than_features() -> None:
    x, y = _features(60, 12, 1), _features(80, 12, 2)
    s1, s2 = np.cov(x.numpy().T), np.cov(y.numpy().T)
    cross = np.trace(scipy.linalg.sqrtm(s1 @ s2).real)
    expected = (x.mean(0) - y.mean(0)).square().sum().item() + np.trace(s1) + np.trace(s2) - 2 * cross
    assert frechet_distance(x, y).item() == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(("n1", "n2"), [(5, 7), (5, 40), (40, 5), (12, 12), (13, 12)])
def test_rank_deficient_against_the_samples_gram_matrix(n1: int, n2: int) -> None:
    """The cross term is also the sum of square roots of the eigenvalues of a samples × samples matrix."""
    d = 12
    x, y = _features(n1, d, 1), _features(n2, d, 2)
    a, b = (x - x.mean(0)) / (n1 - 1) ** 0.5, (y - y.mean(0)) / (n2 - 1) ** 0.5
    cross = np.linalg.svd((a @ b.T).numpy(), compute_uv=False).sum()
    expected = (x.mean(0) - y.mean(0)).square().sum() + a.square().sum() + b.square().sum() - 2 * cross
    assert frechet_distance(x, y).item() == pytest.approx(expected.item(), rel=1e-12)


@pytest.mark.parametrize("n", [8, 100])
def test_zero_for_the_same_and_the_shift_for_a_shift(n: int) -> None:
    x = _features(n, 16, 3)
    scale = x.square().sum().item()
    assert abs(frechet_distance(x, x).item()) < 1e-13 * scale
    assert frechet_distance(x, x + 2).item() == pytest.approx(16 * 4, abs=1e-13 * scale)


def test_scaled_gaussian() -> None:
    """Σ₂ = 9 Σ₁ and equal means: (3 - 1)² tr Σ₁."""
    x = _features(50, 10, 4)
    x = x - x.mean(0)
    assert frechet_distance(x, 3 * x).item() == pytest.approx(4 * np.trace(np.cov(x.numpy().T)), rel=1e-12)


def test_bad_input_is_named() -> None:
    x = torch.randn(5, 4)
    with pytest.raises(ValueError, match="same number of features"):
        frechet_distance(x, torch.randn(5, 3))
    with pytest.raises(ValueError, match="features2 must be"):
        frechet_distance(x, torch.randn(1, 4))
    with pytest.raises(ValueError, match="finite"):
        frechet_distance(x, torch.full((5, 4), torch.nan))
