"""The Fréchet distance, whole and by class: against the formula written out, its zero, derivatives, what is refused."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from fastgan.functional import (
    frechet_distance,
    frechet_distance_by_class,
    frechet_distance_from_features,
)
from tests.functional.spectra import covariance, orthogonal, spectrum


def features(n: int, d: int, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    mix = torch.randn(d, d, generator=generator, dtype=torch.float64)
    return torch.randn(n, d, generator=generator, dtype=torch.float64) @ mix + seed


def stock(x: Tensor, y: Tensor) -> float:
    """The formula of torchmetrics; right at full rank."""
    s1, s2 = torch.cov(x.T), torch.cov(y.T)
    cross = torch.linalg.eigvals(s1 @ s2).sqrt().real.sum()
    return ((x.mean(0) - y.mean(0)).square().sum() + s1.trace() + s2.trace() - 2 * cross).item()


def test_equals_the_formula_written_out() -> None:
    from torchmetrics.image.fid import _compute_fid

    x, y = features(60, 12, 1), features(80, 12, 2)
    moments = x.mean(0), torch.cov(x.T), y.mean(0), torch.cov(y.T)
    expected = stock(x, y)
    assert _compute_fid(*moments).item() == pytest.approx(expected, rel=1e-10)
    distance, error = frechet_distance(*moments, return_error=True)
    assert abs(distance.item() - expected) < max(error.item(), 1e-12 * expected)
    assert frechet_distance_from_features(x, y).item() == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("n", [2, 8, 15, 16, 17, 100])
def test_zero_for_the_same_and_the_shift_for_a_shift(n: int) -> None:
    x = features(n, 16, 3)
    sigma = torch.cov(x.T)
    size = sigma.trace().item()
    for distance, error in (
        frechet_distance_from_features(x, x, return_error=True),
        frechet_distance(x.mean(0), sigma, x.mean(0), sigma, return_error=True),
    ):
        assert abs(distance.item()) <= 1e-9 * size
        assert distance.item() >= -error.item()
    for y, expected in ((x + 2, 16 * 4), (x.flip(0), 0)):
        distance, error = frechet_distance_from_features(x, y, return_error=True)
        assert abs(distance.item() - expected) <= min(error.item(), 1e-9 * size)


def test_a_multiple_of_centred_samples() -> None:
    """Σ₂ = 9 Σ₁ and equal means: (3 - 1)² tr Σ₁, for every rank."""
    for n in (2, 5, 11, 50):
        x = features(n, 10, 4)
        x = x - x.mean(0)
        expected = 4 * torch.cov(x.T).trace().item()
        assert frechet_distance_from_features(x, 3 * x).item() == pytest.approx(expected, rel=1e-12)


def test_a_large_offset_costs_its_share_of_the_digits() -> None:
    x, y = features(9, 20, 1), features(12, 20, 2)
    expected = frechet_distance_from_features(x, y).item()
    assert frechet_distance_from_features(x + 1e6, y + 1e6).item() == pytest.approx(expected, rel=1e-7)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
def test_other_dtypes_are_computed_in_float64(dtype: torch.dtype) -> None:
    x, y = features(9, 20, 1).to(dtype), features(40, 20, 2).to(dtype)
    distance, error = frechet_distance_from_features(x, y, return_error=True)
    assert distance.dtype == error.dtype == torch.float32
    exactly = frechet_distance_from_features(x.double(), y.double()).item()
    assert abs(distance.item() - exactly) <= error.item() <= 1e-5 * exactly


@pytest.mark.parametrize(("n", "m", "d"), [(2, 2, 1), (3, 4, 6), (9, 3, 4), (9, 8, 4)])
def test_derivatives_with_respect_to_features(n: int, m: int, d: int) -> None:
    x, y = features(n, d, 1).requires_grad_(), features(m, d, 2).requires_grad_()
    assert torch.autograd.gradcheck(frechet_distance_from_features, (x, y))
    assert torch.autograd.gradgradcheck(frechet_distance_from_features, (x, y))


def test_derivatives_with_respect_to_moments() -> None:
    def function(mu1: Tensor, s1: Tensor, mu2: Tensor, s2: Tensor) -> Tensor:
        return frechet_distance(mu1, (s1 + s1.mT) / 2, mu2, (s2 + s2.mT) / 2)

    s1, s2 = (covariance(orthogonal(3, i), spectrum("geometric-1e-3", 3) + 0.1) for i in range(2))
    moments = [z.requires_grad_() for z in (torch.randn(2, 3).double(), s1, torch.randn(3).double(), s2)]
    assert torch.autograd.gradcheck(function, moments)
    assert torch.autograd.gradgradcheck(function, moments)


def labelled(sizes: dict[int, int], d: int, seed: int) -> tuple[Tensor, Tensor]:
    """Features of classes of these sizes, in random order."""
    labels = torch.cat([torch.full((n,), label) for label, n in sizes.items()])
    labels = labels[torch.randperm(len(labels), generator=torch.Generator().manual_seed(seed))]
    return features(len(labels), d, seed) + labels[:, None], labels


@pytest.mark.parametrize("chunk", [1, 200, 1 << 20])
def test_by_class_equals_each_class_alone(chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fastgan.functional.frechet_by_class._CHUNK", chunk)
    x, of_x = labelled({-3: 2, 0: 5, 1: 30, 4: 9, 7: 1, 9: 9, 40: 3}, 8, 1)
    y, of_y = labelled({-3: 40, 0: 2, 1: 12, 2: 6, 4: 9, 9: 9, 40: 4}, 8, 2)
    classes, distances, errors = frechet_distance_by_class(x, of_x, y, of_y, return_error=True)
    assert classes.tolist() == [-3, 0, 1, 4, 9, 40]
    for label, distance, error in zip(classes.tolist(), distances, errors, strict=True):
        alone = frechet_distance_from_features(x[of_x == label], y[of_y == label])
        assert abs(distance - alone) <= error <= 1e-10 * (1 + alone)


def test_by_class_has_derivatives() -> None:
    x, of_x = labelled({0: 3, 1: 2, 5: 6}, 4, 1)
    y, of_y = labelled({0: 4, 1: 3, 5: 7}, 4, 2)

    def function(x: Tensor, y: Tensor) -> Tensor:
        return frechet_distance_by_class(x, of_x, y, of_y)[1]

    assert torch.autograd.gradcheck(function, (x.requires_grad_(), y.requires_grad_()))


def test_by_class_without_a_class_in_common() -> None:
    x = features(4, 3, 1).float()
    classes, distances, errors = frechet_distance_by_class(
        x, torch.zeros(4, dtype=torch.int32), x, torch.ones(4, dtype=torch.int64), return_error=True
    )
    assert len(classes) == len(distances) == len(errors) == 0 and distances.dtype == torch.float32


def test_bad_arguments_are_named() -> None:
    x, mu, sigma = torch.randn(5, 4), torch.zeros(4), torch.eye(4)
    labels = torch.tensor([0, 0, 1, 1, 2])
    for call, error, message in (
        (lambda: frechet_distance(mu[:3], sigma, mu, sigma), ValueError, r"mu1 must be \[\.\.\., 4\]"),
        (lambda: frechet_distance(mu, sigma, mu, sigma[0]), ValueError, r"sigma2 must be \[\.\.\., d, d\]"),
        (lambda: frechet_distance(mu, sigma, mu[:3], sigma[:3, :3]), ValueError, "sigma2 must have d = 4"),
        (lambda: frechet_distance(mu, sigma, mu.double(), sigma), TypeError, "mu2 must have sigma2's dtype"),
        (lambda: frechet_distance(mu / 0, sigma, mu, sigma), ValueError, "mu1 must be finite"),
    ):
        with pytest.raises(error, match=f"frechet_distance: {message}"):
            call()
    for call, error, message in (
        (lambda: frechet_distance_from_features(x[:1], x), ValueError, "x must have at least 2 samples"),
        (lambda: frechet_distance_from_features(x, x[:, :3]), ValueError, "y must have d = 4 features"),
        (lambda: frechet_distance_from_features(x, x[0]), ValueError, r"y must be \[\.\.\., N, d\]"),
        (lambda: frechet_distance_from_features(x, x.double()), TypeError, "y must have x's dtype"),
        (lambda: frechet_distance_from_features(x, x * torch.inf), ValueError, "y must be finite"),
        (lambda: frechet_distance_from_features(x.int(), x), TypeError, "x must be float32"),
    ):
        with pytest.raises(error, match=f"frechet_distance_from_features: {message}"):
            call()
    for call, error, message in (
        (
            lambda: frechet_distance_by_class(x, labels, x, labels),
            ValueError,
            "x must have at least 2 samples of class 2",
        ),
        (lambda: frechet_distance_by_class(x, labels[:4], x, labels), ValueError, r"x_labels must be \[5\]"),
        (
            lambda: frechet_distance_by_class(x, labels, x, labels.float()),
            TypeError,
            "y_labels must be a Tensor of integers",
        ),
        (lambda: frechet_distance_by_class(x[None], labels, x, labels), ValueError, r"x must be \[N, d\]"),
    ):
        with pytest.raises(error, match=f"frechet_distance_by_class: {message}"):
            call()
