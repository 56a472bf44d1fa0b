"""The losses against their definitions and against the divergences they reach at the optimal discriminator."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from fastgan import losses
from fastgan.losses import hinge_discriminator, hinge_generator
from tests.tolerances import assert_close

# Two distributions on five points, as how often each point is among so many samples: then means are expectations.
P_COUNTS, Q_COUNTS = torch.tensor([1, 2, 5, 3, 4]), torch.tensor([4, 1, 2, 7, 1])
P, Q = P_COUNTS / P_COUNTS.sum().double(), Q_COUNTS / Q_COUNTS.sum().double()
M, RATIO = (P + Q) / 2, (P / Q)
SMOOTH = sorted(set(losses.LOSSES) - {"hinge"})


def kl(p: Tensor, q: Tensor) -> Tensor:
    return (p * (p / q).log()).sum()


def js(p: Tensor, q: Tensor) -> Tensor:
    return (kl(p, (p + q) / 2) + kl(q, (p + q) / 2)) / 2


def total_variation(p: Tensor, q: Tensor) -> Tensor:
    return (p - q).abs().sum() / 2


def samples(outputs: Tensor) -> tuple[Tensor, Tensor]:
    """What a discriminator with these outputs on the five points says of the samples."""
    return outputs.repeat_interleave(P_COUNTS), outputs.repeat_interleave(Q_COUNTS)


def pairs(outputs: Tensor) -> tuple[Tensor, Tensor]:
    """The same of all pairs of a real and a fake sample."""
    real, fake = samples(outputs)
    return real[:, None].expand(len(real), len(fake)), fake.expand(len(real), len(fake))


#: Name: (the optimal discriminator's outputs, its loss there).
OPTIMA = {
    "non_saturating": (RATIO.log(), 2 * math.log(2) - 2 * js(P, Q)),
    "minimax": (RATIO.log(), 2 * math.log(2) - 2 * js(P, Q)),
    "least_squares": (P / (P + Q), (P * Q / (P + Q)).sum() / 2),
    "relativistic": (
        RATIO.log(),
        math.log(2) - js(torch.outer(P, Q).flatten(), torch.outer(Q, P).flatten()),
    ),
    "kl": (1 + RATIO.log(), -kl(P, Q)),
    "reverse_kl": (RATIO.log(), -kl(Q, P)),
    "pearson_chi2": (2 * (RATIO - 1), -((P - Q).square() / Q).sum()),
    "squared_hellinger": (RATIO.log() / 2, -(P.sqrt() - Q.sqrt()).square().sum()),
    "jensen_shannon": (RATIO.log(), -2 * js(P, Q)),
    "gan": (RATIO.log(), 2 * math.log(2) - 2 * js(P, Q)),
    # Of tanh nothing but the sign is left here, and of its slope nothing.
    "total_variation": (40 * (P - Q).sign(), -total_variation(P, Q)),
}


@pytest.mark.parametrize("name", OPTIMA)
def test_the_optimal_discriminator_s_loss_is_the_divergence_and_its_gradient_zero(name: str) -> None:
    optimum, value = OPTIMA[name]
    optimum = optimum.clone().requires_grad_()
    loss = losses.get(name)
    found = loss.discriminator(*(pairs if loss.paired else samples)(optimum))
    assert_close(found, value, torch.float64)
    (gradient,) = torch.autograd.grad(found, optimum)
    assert_close(gradient, torch.zeros(5), torch.float64)
    other = optimum.detach() + 0.1 * torch.randn(5, dtype=torch.float64)
    if name != "total_variation":
        assert loss.discriminator(*(pairs if loss.paired else samples)(other)) > value


def test_hinge_at_its_optimum() -> None:
    """It lies on kinks of the loss: no other discriminator does better, which is all that a gradient could say."""
    optimum = (P - Q).sign()
    value = hinge_discriminator(*samples(optimum))
    assert_close(value, 2 - 2 * total_variation(P, Q), torch.float64)
    for i in range(5):
        for step in (-1e-3, 1e-3):
            moved = optimum.clone()
            moved[i] += step
            assert hinge_discriminator(*samples(moved)) > value
    real, fake = samples(optimum)
    assert_close(real.mean() + hinge_generator(fake), 2 * total_variation(P, Q), torch.float64)


def test_wasserstein_of_an_optimal_lipschitz_critic() -> None:
    """On a line W1 is the area between the distribution functions, whose difference the critic's slope follows."""
    places = torch.tensor([0.0, 0.3, 1.0, 1.1, 2.5], dtype=torch.float64)
    gaps, below = places.diff(), (Q.cumsum(0) - P.cumsum(0))[:-1]
    critic = torch.cat([torch.zeros(1), (gaps * below.sign()).cumsum(0)])
    real, fake = samples(critic)
    assert_close(losses.wasserstein_discriminator(real, fake), -(gaps * below.abs()).sum(), torch.float64)
    assert_close(losses.wasserstein_generator(fake) + real.mean(), (gaps * below.abs()).sum(), torch.float64)


def test_generators_at_the_optimal_discriminator() -> None:
    _, fake = samples(RATIO.log())
    non_saturating = math.log(2) + kl(Q, P) - kl(Q, M)
    assert_close(losses.non_saturating_generator(fake), non_saturating, torch.float64)
    assert_close(losses.minimax_generator(fake), kl(Q, M) - math.log(2), torch.float64)
    real, fake = samples((P - Q) / (P + Q))
    targets = {"real_target": 1.0, "fake_target": -1.0}
    discriminator = losses.least_squares_discriminator(*samples((P - Q) / (P + Q)), **targets)
    chi2 = ((P - Q).square() / (P + Q)).sum()  # Pearson's, of p + q and 2 q
    assert_close(discriminator, 1 - chi2 / 2, torch.float64)
    generator = losses.least_squares_generator
    assert_close(2 * generator(fake, target=0.0) + 2 * generator(real, target=0.0), chi2, torch.float64)


@pytest.mark.parametrize("name", losses.DIVERGENCES)
def test_the_two_sides_of_an_f_gan_sum_to_its_bound(name: str) -> None:
    optimum, value = OPTIMA[name]
    real, fake = samples(optimum)
    loss, f = losses.get(name), losses.DIVERGENCES[name]
    assert_close(loss.generator(fake) + f.activation(real).mean(), -value, torch.float64)
    alternative = losses.f_gan_generator(fake, divergence=name, non_saturating=True)
    assert_close(alternative, -f.activation(fake).mean(), torch.float64)


@pytest.mark.parametrize("name", losses.DIVERGENCES)
def test_conjugates(name: str) -> None:
    """f*(t) is the largest of u t - f(u), and the simplified composition is the composition."""
    functions: dict[str, Callable[[Tensor], Tensor]] = {
        "kl": lambda u: u * u.log(),
        "reverse_kl": lambda u: -u.log(),
        "pearson_chi2": lambda u: (u - 1).square(),
        "squared_hellinger": lambda u: (u.sqrt() - 1).square(),
        "jensen_shannon": lambda u: u * u.log() - (u + 1) * ((u + 1) / 2).log(),
        "total_variation": lambda u: (u - 1).abs() / 2,
        "gan": lambda u: u * u.log() - (u + 1) * (u + 1).log(),
    }
    f = losses.DIVERGENCES[name]
    v = torch.linspace(-1.9, 2, 14, dtype=torch.float64)
    t = f.activation(v)
    assert (t.diff() > 0).all()
    composed = f.activated_conjugate(v)
    assert_close(composed, f.conjugate(t), torch.float64)
    u = torch.logspace(-4, 2, 20_001, dtype=torch.float64)
    largest = (u * t[:, None] - functions[name](u)).amax(1)
    torch.testing.assert_close(largest, composed, rtol=0, atol=1e-3)
    assert (largest <= composed + 1e-12).all()


def test_hinge() -> None:
    real, fake = torch.tensor([2.0, 0.5, -1.0]), torch.tensor([-2.0, 0.5, -0.25])
    torch.testing.assert_close(hinge_discriminator(real, fake), torch.tensor((0 + 0.5 + 2) / 3 + (0 + 1.5 + 0.75) / 3))
    torch.testing.assert_close(hinge_generator(fake), torch.tensor(1.75 / 3))


def sides(name: str) -> dict[str, Callable[[Tensor, Tensor], Tensor]]:
    """Both losses as functions of both outputs."""
    loss = losses.get(name)
    generator = loss.generator if loss.paired else lambda real, fake: loss.generator(fake)
    return {"discriminator": loss.discriminator, "generator": generator}


#: Exponentials of the outputs leave float32's range where the discriminator is sure and wrong, or is out of bounds.
INFINITE = {
    ("kl", "discriminator"): {(-1, 1), (1, 1)},
    ("kl", "generator"): {(-1, 1), (1, 1)},
    ("reverse_kl", "discriminator"): {(-1, -1), (-1, 1)},
    ("squared_hellinger", "discriminator"): {(-1, -1), (-1, 1), (1, 1)},
    ("squared_hellinger", "generator"): {(-1, 1), (1, 1)},
}


@pytest.mark.parametrize("side", ["discriminator", "generator"])
@pytest.mark.parametrize("name", losses.LOSSES)
def test_large_logits(name: str, side: str) -> None:
    for signs in ((-1, -1), (-1, 1), (1, -1), (1, 1)):
        real, fake = (torch.full((3,), 1e4 * sign, requires_grad=True) for sign in signs)
        loss = sides(name)[side](real, fake)
        gradients = torch.autograd.grad(loss, (real, fake), allow_unused=True)
        finite = signs not in INFINITE.get((name, side), ())
        assert loss.isfinite() == finite and not loss.isnan()
        assert all(g is None or g.isfinite().all() == finite or not finite for g in gradients)
        exact = sides(name)[side](real.double(), fake.double())
        if finite:
            assert_close(loss, exact, torch.float32)


@pytest.mark.parametrize("side", ["discriminator", "generator"])
@pytest.mark.parametrize("name", SMOOTH)
def test_first_and_second_derivatives(name: str, side: str) -> None:
    real, fake = (torch.randn(2, 3, dtype=torch.float64, requires_grad=True) for _ in range(2))
    assert torch.autograd.gradcheck(sides(name)[side], (real, fake))
    if name != "wasserstein":
        assert torch.autograd.gradgradcheck(sides(name)[side], (real, fake))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize("name", losses.LOSSES)
def test_half_types_are_computed_in_float32(name: str, dtype: torch.dtype) -> None:
    for side in sides(name).values():
        real, fake = (torch.randn(7).to(dtype).requires_grad_() for _ in range(2))
        loss = side(real, fake)
        assert torch.equal(loss, side(real.float(), fake.float())) and loss.dtype == torch.float32
        loss.backward()
        assert fake.grad is not None and fake.grad.dtype == dtype


def test_what_is_refused() -> None:
    with pytest.raises(ValueError, match=r"relativistic_generator: fake_logits must be \[4, 1\].*got \[4\]"):
        losses.relativistic_generator(torch.randn(4, 1), torch.randn(4))
    with pytest.raises(ValueError, match=r"relativistic_discriminator: fake_logits must be \[3\]"):
        losses.relativistic_discriminator(torch.randn(3), torch.randn(4))
    with pytest.raises(ValueError, match=r"losses.get: name must be one of non_saturating, .*got 'hinges'"):
        losses.get("hinges")
    with pytest.raises(ValueError, match=r"f_gan_generator: divergence must be one of kl, .*got 'hinge'"):
        losses.f_gan_generator(torch.randn(3), divergence="hinge")


def test_pairs_by_name() -> None:
    discriminator, generator = losses.get("hinge")
    assert discriminator is hinge_discriminator and generator is hinge_generator
    assert [name for name in losses.LOSSES if losses.get(name).paired] == ["relativistic"]
