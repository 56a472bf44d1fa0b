"""The Parzen window against torch's mixture distribution and closed forms; the Inception score against its formula."""

from __future__ import annotations

import math

import pytest
import torch
from torch.distributions import Categorical, Independent, MixtureSameFamily, Normal

from fastgan.functional import distances, inception_score, parzen_log_likelihood


@pytest.mark.parametrize("tile", [4, 1024])
def test_mixture_of_gaussians(tile: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(distances, "TILE", tile)
    x, samples = torch.randn(9, 5, dtype=torch.float64), torch.randn(11, 5, dtype=torch.float64)
    sigmas = torch.tensor([0.05, 0.5, 2.0])
    result = parzen_log_likelihood(x, samples, sigmas)
    assert result.shape == (3, 9)
    for sigma, row in zip(sigmas.double(), result, strict=True):
        components = Independent(Normal(samples, sigma), 1)
        mixture = MixtureSameFamily(Categorical(torch.ones(11, dtype=torch.float64)), components)
        torch.testing.assert_close(row, mixture.log_prob(x), rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(parzen_log_likelihood(x, samples, float(sigma)), row)


def test_distant_samples_do_not_vanish() -> None:
    """exp(-d²/2σ²) is zero in float64 beyond 39 σ; its logarithm is not."""
    x, samples = torch.zeros(1, 2), torch.tensor([[3000.0, 4000.0]]).repeat(3, 1)
    expected = -(5000.0**2) / 2 - math.log(2 * math.pi)
    assert parzen_log_likelihood(x, samples, 1.0).item() == pytest.approx(expected, rel=1e-14)


def test_inception_score() -> None:
    logits = 3 * torch.randn(40, 7, dtype=torch.float64)
    p = logits.softmax(1)
    expected = (p * (p / p.mean(0)).log()).sum(1).mean().exp()
    torch.testing.assert_close(inception_score(logits), expected, rtol=1e-13, atol=0)
    # Sure of each image, and every class equally often: the number of classes. Sure of one class: one.
    assert inception_score(1e4 * torch.eye(6).repeat(3, 1)).item() == pytest.approx(6, rel=1e-13)
    assert inception_score(1e4 * torch.eye(6)[:1].repeat(9, 1)).item() == pytest.approx(1, rel=1e-13)
    torch.autograd.gradcheck(inception_score, logits[:4, :3].requires_grad_())


def test_bad_input_is_named() -> None:
    x = torch.randn(3, 2)
    for sigma in (0.0, -1.0, float("nan"), torch.ones(2, 2), []):
        with pytest.raises(ValueError, match=r"sigma must be positive, a number or \[S\]"):
            parzen_log_likelihood(x, x, sigma)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"samples must be \[N, 2\]"):
        parzen_log_likelihood(x, torch.randn(3, 4), 1.0)
    with pytest.raises(ValueError, match="logits must be finite"):
        inception_score(x / 0)
