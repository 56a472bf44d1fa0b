"""The schedule unrolled: its gradient against one written out by hand, its optimisers' rules, what it leaves alone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim import SGD, Adam, Optimizer, RMSprop

from fastgan.trainers import checkpoint
from fastgan.trainers.config import ConfigError
from fastgan.trainers.loop import Trainer
from fastgan.trainers.recipe import recipe_names
from fastgan.trainers.unrolled import check_unrolled, unrolled_loss

from . import tiny


@pytest.fixture
def _float64() -> Iterator[None]:
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


class _Recipe:
    """The losses of a recipe on networks that the test writes out; the noise is drawn as a recipe does."""

    def discriminator_loss(self, discriminator: nn.Module, generator: nn.Module, images: Tensor, _: Any) -> Tensor:
        with torch.no_grad():
            fakes = generator(torch.randn(len(images), 2))
        return F.softplus(-discriminator(images)).mean() + F.softplus(discriminator(fakes)).mean()

    def generator_loss(self, generator: nn.Module, discriminator: nn.Module, images: Tensor, _: Any) -> Tensor:
        return F.softplus(-discriminator(generator(torch.randn(len(images), 2)))).mean()


def _by_hand(
    theta: list[Tensor], phi: list[Tensor], step: Any, unroll: int, real: Tensor
) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
    """The generator's gradient through ``unroll`` updates ``step`` of phi, and without the part through them."""

    def generated(weights: list[Tensor]) -> Tensor:
        return torch.tanh(torch.randn(len(real), 2) @ weights[0].T + weights[1])

    def judged(x: Tensor, weights: list[Tensor]) -> Tensor:
        return torch.tanh(x @ weights[0].T + weights[1]) @ weights[2].T + weights[3]

    gradients = []
    for attached in (True, False):
        torch.manual_seed(5)
        theta = [t.detach().requires_grad_() for t in theta]
        imagined = [p.detach().requires_grad_() for p in phi]
        for k in range(unroll):
            fakes = generated(theta if attached else [t.detach() for t in theta])
            loss = F.softplus(-judged(real, imagined)).mean() + F.softplus(judged(fakes, imagined)).mean()
            moves = torch.autograd.grad(loss, imagined, create_graph=True)
            imagined = step(k, imagined, moves)
        loss = F.softplus(-judged(generated(theta), imagined)).mean()
        gradients.append(torch.autograd.grad(loss, theta))
    return gradients[0], gradients[1]


@pytest.mark.usefixtures("_float64")
@pytest.mark.parametrize("rule", ["sgd", "adam"])
def test_gradient_is_that_of_a_written_out_unrolling(rule: str) -> None:
    generator = nn.Sequential(nn.Linear(2, 3), nn.Tanh())
    discriminator = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1))
    real, unroll, lr = torch.randn(6, 3), 3, 0.3
    parameters = list(discriminator.parameters())
    if rule == "sgd":
        optimizer: Optimizer = SGD(parameters, lr)

        def step(k: int, weights: list[Tensor], moves: tuple[Tensor, ...]) -> list[Tensor]:
            return [p - lr * g for p, g in zip(weights, moves, strict=True)]
    else:
        optimizer = Adam(parameters, lr, (0.5, 0.9), 1e-8)
        m, v = ([torch.zeros_like(p) for p in parameters] for _ in range(2))

        def step(k: int, weights: list[Tensor], moves: tuple[Tensor, ...]) -> list[Tensor]:
            nonlocal m, v
            m = [0.5 * a + 0.5 * g for a, g in zip(m if k else [0] * 4, moves, strict=True)]
            v = [0.9 * a + 0.1 * g**2 for a, g in zip(v if k else [0] * 4, moves, strict=True)]
            size = [(b / (1 - 0.9 ** (k + 1))).sqrt() + 1e-8 for b in v]
            return [p - lr * a / (1 - 0.5 ** (k + 1)) / s for p, a, s in zip(weights, m, size, strict=True)]

    expected, detached = _by_hand(list(generator.parameters()), parameters, step, unroll, real)
    torch.manual_seed(5)
    unrolled_loss(_Recipe(), generator, discriminator, optimizer, unroll, real, None).backward()  # type: ignore[arg-type]
    for parameter, gradient, without in zip(generator.parameters(), expected, detached, strict=True):
        torch.testing.assert_close(parameter.grad, gradient, rtol=1e-10, atol=1e-13)
        assert (gradient - without).norm() > 1e-3 * gradient.norm()
    assert all(p.grad is None for p in parameters) and not optimizer.state


@pytest.mark.usefixtures("_float64")
@pytest.mark.parametrize(
    ("kind", "options"),
    [
        (SGD, {"lr": 0.1}),
        (SGD, {"lr": 0.1, "momentum": 0.7, "weight_decay": 0.1, "dampening": 0.2}),
        (SGD, {"lr": 0.1, "momentum": 0.7, "nesterov": True}),
        (Adam, {"lr": 0.1, "betas": (0.5, 0.9), "weight_decay": 0.1}),
        (Adam, {"lr": 0.1, "betas": (0.0, 0.99)}),
    ],
)
def test_imagined_updates_are_the_optimisers_own(kind: type[Optimizer], options: dict[str, Any]) -> None:
    """From the state of an optimiser at work; an entry whose gradient is always zero stays where it is."""
    real = torch.cat([torch.randn(5, 2), torch.zeros(5, 1)], 1)
    generator, discriminator = nn.Sequential(nn.Linear(2, 3)), nn.Linear(3, 1)
    with torch.no_grad():
        generator[0].weight[2], generator[0].bias[2] = 0, 0
    optimizer = kind(discriminator.parameters(), **options)  # type: ignore[call-arg]
    recipe: Any = _Recipe()

    def train() -> None:
        optimizer.zero_grad()
        recipe.discriminator_loss(discriminator, generator, real, None).backward()
        optimizer.step()

    train()
    train()
    state = torch.get_rng_state()
    loss = unrolled_loss(recipe, generator, discriminator, optimizer, 3, real, None)
    loss.backward()
    torch.set_rng_state(state)
    for _ in range(3):
        train()
    torch.testing.assert_close(loss, recipe.generator_loss(generator, discriminator, real, None))
    assert all(p.grad is not None and p.grad.isfinite().all() for p in generator.parameters())


@pytest.mark.parametrize("name", ["gan", "dcgan", "sngan"])
def test_imagined_updates_change_only_the_generators_gradient(name: str) -> None:
    """The discriminator makes its ordinary update; its buffers take no part in what is imagined."""
    found = []
    for unroll in (0, 3):
        trainer = tiny.trainer(name, schedule="unrolled", unroll=unroll, d_lr=1e-2)
        trainer.update()
        trainer.update()  # the first one's discriminator was the same
        found.append(trainer)
    plain, unrolled = found
    torch.manual_seed(3)
    before = {k: t.clone() for k, t in unrolled.discriminator.module.state_dict().items()}
    state = optimiser_state(unrolled)
    (loss,) = unrolled._generator_losses(*unrolled._batch())
    loss().backward()
    assert all(torch.equal(t, before[k]) for k, t in unrolled.discriminator.module.state_dict().items())
    assert state == optimiser_state(unrolled)
    gradients = [torch.cat([p.grad.flatten() for p in t.generator.module.parameters()]) for t in (plain, unrolled)]
    assert gradients[1].isfinite().all() and not torch.equal(*gradients)


def optimiser_state(trainer: Trainer) -> list[float]:
    return [float(t.double().sum()) for s in trainer.d_optimizer.optimizer.state.values() for t in s.values()]


def test_nothing_imagined_is_alternating() -> None:
    states = []
    for schedule in ("unrolled", "alternating"):
        trainer = tiny.trainer("sngan", schedule=schedule, unroll=0)
        for _ in range(2):
            trainer.update()
        states.append(tiny.state(trainer))
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[1])


def test_resumed_run_continues_bit_for_bit(tmp_path: Path) -> None:
    options: dict[str, Any] = {"schedule": "unrolled", "unroll": 2}
    trainer = tiny.trainer("sngan", **options)
    trainer.update()
    trainer.save(tmp_path)
    trainer.update()
    again = tiny.trainer("sngan", **options)
    path = checkpoint.latest(tmp_path)
    assert path is not None
    again.load(path)
    again.update()
    found, expected = tiny.state(again), tiny.state(trainer)
    assert all(torch.equal(found[key], expected[key]) for key in expected)


def test_fused_attention_can_be_unrolled() -> None:
    class Attention(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.dense = nn.Linear(3, 3)

        def forward(self, x: Tensor) -> Tensor:
            y = self.dense(x)[None, None]
            return F.scaled_dot_product_attention(y, y, y).sum((0, 1, 3))[:, None]

    generator, discriminator = nn.Linear(2, 3), Attention()
    optimizer = Adam(discriminator.parameters(), 0.1)
    unrolled_loss(_Recipe(), generator, discriminator, optimizer, 2, torch.randn(4, 3), None).backward()  # type: ignore[arg-type]
    assert generator.weight.grad is not None and generator.weight.grad.any()


def test_what_cannot_be_unrolled_is_refused() -> None:
    options: dict[str, Any] = {"schedule": "unrolled", "unroll": 1}
    with pytest.raises(ConfigError, match="fused gradient penalty have no derivatives; set stock=true"):
        tiny.trainer("wgan-gp", **options)
    trainer = tiny.trainer("wgan-gp", stock=True, **options)
    assert trainer.update()["loss/generator"].isfinite()
    assert trainer.discriminator.module.calls == trainer.config.n_dis  # what is imagined does not count
    with pytest.raises(ConfigError, match="accumulate must be 1, got 2"):
        tiny.trainer("dcgan", accumulate=2, **options)
    with pytest.raises(ConfigError, match="knows the rules of SGD or Adam, not this RMSprop"):
        tiny.trainer("wgan", **options)
    with pytest.raises(ConfigError, match="unroll must be at least 0, got -1"):
        tiny.trainer("dcgan", unroll=-1)
    network = nn.Linear(1, 1)
    for option in ("amsgrad", "decoupled_weight_decay", "maximize"):
        with pytest.raises(ConfigError, match="not this Adam"):
            check_unrolled(trainer.recipe, network, Adam(network.parameters(), **{option: True}))  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="not this RMSprop"):
        check_unrolled(trainer.recipe, network, RMSprop(network.parameters()))


@pytest.mark.parametrize("name", recipe_names())
def test_every_recipe_is_unrolled_or_refused(name: str) -> None:
    refused = {
        "vae": "which has no discriminator",
        "cvae": "which has no discriminator",
        "wgan": "not this RMSprop",
        **dict.fromkeys(["vaegan", "stargan", "unit"], "whose losses use more of the generator than its forward"),
    }
    options: dict[str, Any] = {"schedule": "unrolled", "unroll": 2, "stock": True}
    if name in refused:
        with pytest.raises(ConfigError, match=refused[name]):
            tiny.trainer(name, **options)
        return
    trainer = tiny.trainer(name, **options)
    before = {k: p.detach().clone() for k, p in trainer.generator.module.named_parameters()}
    for _ in range(2):
        losses = trainer.update()
    assert all(loss.isfinite() for loss in losses.values())
    assert any(not torch.equal(p, before[k]) for k, p in trainer.generator.module.named_parameters())
