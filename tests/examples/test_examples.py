"""The scripts of ``examples``, at a fraction of their steps: each claim is checked, not only that they run."""

from __future__ import annotations

import copy
import math
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from torch.nn.utils import parameters_to_vector

import bound_and_estimate
import explicit_to_implicit
import generative_discriminative
import implicit_to_explicit
import js_and_wasserstein
import mode_collapse
import optimal_discriminator
from fastgan.losses import non_saturating_discriminator, non_saturating_generator
from lecture import Circle, LatentVariableModel, jensen_shannon_of_densities


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def test_the_circle_s_density_and_a_vae_s_are_normalised() -> None:
    grid, cell = explicit_to_implicit.GRID, explicit_to_implicit.CELL
    assert (Circle().log_density(grid).exp().sum() * cell).item() == pytest.approx(1, abs=1e-3)
    model = LatentVariableModel(2).fit(Circle().sample(2000), steps=300)
    assert (model.log_density(grid, points=61).exp().sum() * cell).item() == pytest.approx(1, abs=2e-3)
    x = Circle().sample(50)
    torch.testing.assert_close(model.log_density(x), model.log_density(x, points=361), rtol=0, atol=1e-3)


def test_the_circle_s_density_is_that_of_its_samples() -> None:
    circle = Circle()
    x = circle.sample(200_000)
    for inner, outer in ((0.0, 1.7), (1.7, 2.1), (2.1, 9.0)):
        inside = (x.norm(dim=1) >= inner) & (x.norm(dim=1) < outer)
        radius = torch.linspace(inner, outer, 4001, dtype=torch.float64)
        density = circle.log_density(torch.stack([radius, torch.zeros_like(radius)], 1)).exp()
        expected = torch.trapezoid(2 * math.pi * radius * density, radius).item()
        assert inside.double().mean().item() == pytest.approx(expected, abs=5e-3)


@pytest.mark.parametrize("name", optimal_discriminator.FAMILY)
def test_closed_forms_of_divergences(name: str) -> None:
    p, q = optimal_discriminator.distributions(0.7)
    x = torch.linspace(-12, 12, 40_001, dtype=torch.float64)
    ratio, density = (p.log_prob(x) - q.log_prob(x)).exp(), q.log_prob(x).exp()
    f = {
        "kl": ratio * ratio.log(),
        "reverse_kl": -ratio.log(),
        "jensen_shannon": ratio * ratio.log() - (ratio + 1) * ((ratio + 1) / 2).log(),
        "pearson_chi2": (ratio - 1).square(),
        "squared_hellinger": (ratio.sqrt() - 1).square(),
    }[name]
    found = torch.trapezoid((density * f).nan_to_num(), x).item()
    assert optimal_discriminator.exact(name, 0.7) == pytest.approx(found, rel=1e-5)


def test_optimal_discriminator(tmp_path: Path) -> None:
    results = optimal_discriminator.measure(250, shifts=(1.0,))
    for rows, _ in results.values():
        for _, exact, estimate, error in rows:
            assert estimate <= exact + 4 * error
        assert rows[0][2] >= 0.93 * rows[0][1]
    optimal_discriminator.draw(results, tmp_path / "figure.png")
    assert (tmp_path / "figure.png").stat().st_size > 10_000


def test_js_and_wasserstein(tmp_path: Path) -> None:
    results = js_and_wasserstein.measure(120, thetas=(-0.5, 0.0, 1.0))
    assert results["JS"] == pytest.approx([math.log(2), 0, math.log(2)], abs=0.02)
    for theta, estimate in zip(results["theta"], results["W1"], strict=True):
        assert abs(theta) - 0.1 <= estimate <= abs(theta) + 0.01
    gradients = results["gradients"]
    assert gradients["minimax"][-1] < 0.1 * max(gradients["minimax"])
    assert gradients["Wasserstein, WGAN-GP"][-1] == pytest.approx(1, abs=0.25)
    assert gradients["non-saturating"][-1] > 5
    js_and_wasserstein.draw(results, tmp_path / "figure.png")


def test_explicit_to_implicit(tmp_path: Path) -> None:
    results = explicit_to_implicit.main(300, vae_steps=200, components=(1,), figure=tmp_path / "figure.png")
    for result in results:
        assert result["exact"] - 0.04 <= result["estimate"] <= result["exact"] + 4 * result["error"]
        assert result["exact"] > 0.2
    _, log_density = explicit_to_implicit.mixture(Circle().sample(5000), 8)
    log_truth = Circle().log_density(explicit_to_implicit.GRID)
    assert 0 < jensen_shannon_of_densities(log_truth, log_density, explicit_to_implicit.CELL) < 0.02


def test_implicit_to_explicit(tmp_path: Path) -> None:
    results = implicit_to_explicit.main(300, samples=(100, 1000), dimensions=(1, 8, 32), figure=tmp_path / "figure.png")
    for kind in ("Parzen window", "mixture"):
        own, gan = results[kind, "circle"], results[kind, "GAN"]
        assert max(own[-1], gan[-1]) < results["exact"]["circle"] + 0.03
        assert own[0] < own[1]
        assert gan[1] < own[1]
    assert results["gap"][1] < 0.05 < results["gap"][8] < results["gap"][32] / 4


def test_bound_and_estimate(tmp_path: Path) -> None:
    results = bound_and_estimate.main(vae_steps=400, gan_steps=150, test_size=400, figure=tmp_path / "figure.png")
    exact, bounds = results["exact"], results["bounds"]
    assert exact["VAE"] < exact["data"]
    assert exact["GAN"] < exact["data"]
    assert all(low < high + 0.02 for low, high in pairwise(bounds))
    assert bounds[-1] == pytest.approx(exact["VAE"], abs=0.05)
    assert bounds[0] < exact["VAE"] - 0.05
    assert all(values[-1] < exact[name] - 0.1 for name, values in results["windows"].items())


def test_the_generative_classifier_is_ahead_first_and_the_discriminative_one_in_the_end(tmp_path: Path) -> None:
    sizes = {"cancer": (8, 300)}
    errors = generative_discriminative.main(40, sizes, tmp_path / "figure.png")["cancer"]
    naive_bayes_is_worse = errors[:, :, 0] - errors[:, :, 1]
    mean, error = naive_bayes_is_worse.mean(1), naive_bayes_is_worse.std(1, ddof=1) / math.sqrt(40)
    assert mean[0] < -2 * error[0]
    assert mean[1] > 4 * error[1]


def test_the_posterior_is_bayes_rule() -> None:
    x, y = generative_discriminative.DATA["wine"][1](return_X_y=True)
    log_posterior = torch.from_numpy(generative_discriminative.posterior(x, y, x[:20]))
    assert torch.allclose(log_posterior.exp().sum(1), torch.ones(20, dtype=torch.float64))
    # Linear in x: half-way between two points it is half-way, but for the constant that normalises.
    middle = torch.from_numpy(generative_discriminative.posterior(x, y, (x[:10] + x[10:20]) / 2))
    off = middle - (log_posterior[:10] + log_posterior[10:]) / 2
    assert torch.allclose(off, off[:, :1].expand_as(off))


def test_unrolling_covers_modes_that_plain_training_does_not(tmp_path: Path) -> None:
    results = mode_collapse.main(240, seeds=1, figure=tmp_path / "figure.png")
    assert results.keys() == mode_collapse.METHODS.keys()
    late = {name: sum(runs[0][-5:]) for name, (runs, _) in results.items()}
    assert late["unrolled, 8 steps"] >= late["plain"] + 5  # one more, in the mean
    assert (tmp_path / "figure.png").stat().st_size > 10_000


def test_r1_covers_modes_that_plain_training_does_not() -> None:
    plain, with_r1 = (mode_collapse.train(0, gamma, 900, seed=0)[-5:] for gamma in (0.0, 1.0))
    covered = mode_collapse.modes_covered
    assert sum(map(covered, with_r1)) >= sum(map(covered, plain)) + 5


def test_a_step_of_the_discriminator_is_adam_s() -> None:
    discriminator = mode_collapse.Discriminator(gamma=0.5)
    twin = copy.deepcopy(discriminator.network)
    optimizer = torch.optim.Adam(twin.parameters(), mode_collapse.D_LR, mode_collapse.BETAS)
    state = discriminator.start
    for _ in range(3):
        real, fake = mode_collapse.ring(32), torch.randn(32, 2)
        state = discriminator.step(state, real, fake, differentiable=False)
        real = real.requires_grad_()
        (slope,) = torch.autograd.grad(twin(real).sum(), real, create_graph=True)
        loss = non_saturating_discriminator(twin(real), twin(fake)) + 0.25 * slope.square().sum(1).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    torch.testing.assert_close(state[0], parameters_to_vector(twin.parameters()).detach(), rtol=1e-4, atol=1e-5)


def test_the_unrolled_gradient_is_that_of_the_foreseen_loss() -> None:
    discriminator = mode_collapse.Discriminator(gamma=0.0)
    discriminator.network.double()
    state = tuple(part.double() if isinstance(part, torch.Tensor) else part for part in discriminator.start)
    real, fake = mode_collapse.ring(8).double(), torch.randn(8, 2, dtype=torch.float64, requires_grad=True)

    def foreseen(fake: torch.Tensor) -> torch.Tensor:
        imagined = discriminator.step(state, real[:4], real[4:] + 1, differentiable=True)
        for _ in range(2):
            imagined = discriminator.step(imagined, real, fake, differentiable=True)
        return non_saturating_generator(discriminator(imagined[0], fake))

    assert torch.autograd.gradcheck(foreseen, fake, eps=1e-7, atol=1e-5)
