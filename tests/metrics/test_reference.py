"""FrechetReference: the same distance from moments, features and files, at any rank."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from fastgan.functional import frechet_distance_from_features
from fastgan.metrics.reference import FrechetReference


def features(n: int, d: int = 9) -> Tensor:
    return torch.randn(n, d, dtype=torch.float64) @ torch.randn(d, d, dtype=torch.float64) + 1


@pytest.mark.parametrize("n", [2, 9, 10, 40])
@pytest.mark.parametrize("m", [2, 9, 10, 40])
def test_one_distance_by_all_ways(n: int, m: int, tmp_path: Path) -> None:
    x, y = features(n), features(m)
    expected = pytest.approx(frechet_distance_from_features(x, y).item(), rel=1e-10)
    reference = FrechetReference.from_features(x)
    reference.save(tmp_path / "real.safetensors")
    reference.save_npz(tmp_path / "real.npz")
    for same in (
        reference,
        FrechetReference.from_moments(x.mean(0), torch.cov(x.T)),
        FrechetReference.load(tmp_path / "real.safetensors"),
        FrechetReference.from_npz(tmp_path / "real.npz"),
    ):
        assert (same.sigma - torch.cov(x.T)).abs().max() < 1e-12
        distance, error = same.distance_from_features(y)
        assert distance.item() == expected and error < 1e-9
        assert same.distance(y.mean(0), torch.cov(y.T))[0].item() == expected
    assert same.factor.shape[1] == min(n - 1, 9)


def test_a_saved_reference_is_the_same_to_the_bit(tmp_path: Path) -> None:
    reference = FrechetReference.from_features(features(30).float())
    reference.save(tmp_path / "real.safetensors")
    loaded = FrechetReference.load(tmp_path / "real.safetensors")
    assert torch.equal(loaded.mu, reference.mu) and torch.equal(loaded.factor, reference.factor)


def test_reads_what_pytorch_fid_writes(tmp_path: Path) -> None:
    x = features(50)
    mu, sigma = np.mean(x.numpy(), axis=0), np.cov(x.numpy(), rowvar=False)
    np.savez_compressed(tmp_path / "stats.npz", mu=mu, sigma=sigma)
    reference = FrechetReference.from_npz(tmp_path / "stats.npz")
    reference.save_npz(tmp_path / "again.npz")
    with np.load(tmp_path / "again.npz") as again:
        np.testing.assert_array_equal(again["mu"], mu)
        np.testing.assert_allclose(again["sigma"], sigma, rtol=1e-13, atol=1e-14)


def test_gradients_reach_the_other_side() -> None:
    reference = FrechetReference.from_features(features(40))
    for m in (4, 30):
        y = features(m).requires_grad_()
        assert torch.autograd.gradcheck(lambda y: reference.distance_from_features(y)[0], y)


def test_bad_arguments_are_named(tmp_path: Path) -> None:
    for call, message in (
        (lambda: FrechetReference.from_features(torch.randn(1, 3)), "x must have at least 2 samples"),
        (lambda: FrechetReference.from_features(torch.full((4, 3), torch.nan)), "x must be finite"),
        (lambda: FrechetReference.from_moments(torch.zeros(2), torch.eye(3)), r"mu must be \[\.\.\., 3\]"),
        (lambda: FrechetReference(torch.zeros(3), torch.ones(3, 3)), "factor must have fewer columns than rows"),
        (lambda: FrechetReference(torch.zeros(3), torch.ones(2, 2)), r"mu must be \[d\] and factor \[d, r\]"),
    ):
        with pytest.raises(ValueError, match=message):
            call()
    reference = FrechetReference.from_features(features(40))
    with pytest.raises(ValueError, match=r"x must be \[N, 9\], got \[4, 3\]"):
        reference.distance_from_features(torch.randn(4, 3))
    np.savez(tmp_path / "other.npz", mean=np.zeros(3))
    with pytest.raises(ValueError, match="must hold mu and sigma, got mean"):
        FrechetReference.from_npz(tmp_path / "other.npz")
