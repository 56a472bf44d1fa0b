"""Training on fastgan's layers is training on stock ones: the same weights from the same seed."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import pytest
import torch

from fastgan.nn.utils import ungroup_spectral_norm
from fastgan.trainers.loop import Trainer

from .runs import assert_discriminator_learned, discriminator_moments, tiny_trainer

Weights = dict[str, torch.Tensor]


def _weights(trainer: Trainer) -> Weights:
    """Parameters and buffers of both networks and the moving average."""
    return {
        f"{prefix}.{name}": tensor.clone()
        for prefix, module in trainer._modules().items()
        for name, tensor in module.state_dict().items()
    }


def _distance(a: Weights, b: Weights) -> float:
    """Relative distance of all weights together."""
    assert a.keys() == b.keys()
    difference, size = (
        torch.cat([t.double().flatten() for t in w]).norm() for w in ([a[k] - b[k] for k in a], a.values())
    )
    return (difference / size).item()


def _train(trainer: Trainer, *stops: int) -> list[Weights]:
    """Weights at the start and after each number of steps in ``stops``."""
    found = [_weights(trainer)]
    for stop in stops:
        while trainer.step < stop:
            trainer.update()
        found.append(_weights(trainer))
    trainer.check_losses()
    assert_discriminator_learned(discriminator_moments(trainer))
    return found


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """These networks are too narrow to share: threads would only wait for each other."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def _float64() -> Iterator[None]:
    """From the first number on: rounded to float32, the two starts would be 1e-7 apart."""
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def _trainers(**values: Any) -> Iterator[Trainer]:
    """On stock layers, on ours with the weights normalised as a group, and on ours with each by itself.

    Each is made when it is asked for: making it sets the seed that its training goes on from.
    """
    yield tiny_trainer(stock=True, **values)
    yield tiny_trainer(stock=False, **values)
    alone = tiny_trainer(stock=False, **values)
    ungroup_spectral_norm(alone.discriminator.module)
    yield alone


@pytest.mark.usefixtures("_float64")
def test_float64_for_200_steps() -> None:
    (start, stock), *others = (_train(trainer, 200) for trainer in _trainers(precision="64-true", n_dis=1))
    # The first estimates of the singular vectors are sums, in another order.
    estimates = [name for name in start if name.endswith(("._u", "._v"))]
    assert estimates
    moved = [name for name in start if (stock[name] - start[name]).abs().max() > 1e-3]
    assert {name.split(".")[0] for name in moved} == {"generator", "discriminator", "ema"}
    assert {t.dtype for name, t in stock.items() if "num_batches" not in name} == {torch.float64}
    for fast_start, fast in others:
        for name in start:
            tolerance = 1e-14 if name in estimates else 0
            torch.testing.assert_close(fast_start[name], start[name], rtol=0, atol=tolerance)
        for name in stock:
            torch.testing.assert_close(
                fast[name], stock[name], rtol=1e-9, atol=1e-9 * max(1, stock[name].abs().max().item())
            )


def _nudged(towards: float) -> Trainer:
    """On stock layers, started one unit in the last place away."""
    trainer = tiny_trainer(stock=True)
    with torch.no_grad():
        for p in (*trainer.generator.module.parameters(), *trainer.discriminator.module.parameters()):
            p.copy_(torch.nextafter(p, torch.full_like(p, towards)))
    return trainer


def test_float32_stays_within_chaos_for_200_steps() -> None:
    """No further from stock than twice the distance of stock from itself started one unit in the last place away.

    (A power iteration sums in another order than stock's, and Adam turns the rounding of gradients that are zero in
    truth, those of biases before a norm, into whole steps: the bits are equal at no step.)
    """
    trainers = itertools.chain(_trainers(), map(_nudged, (torch.inf, -torch.inf)))
    _start, *stops = zip(*(_train(trainer, 5, 50, 200) for trainer in trainers), strict=True)
    for stock, grouped, alone, *nudged in stops:
        own = max(_distance(stock, other) for other in nudged)
        assert 0 < own < 1e-3
        assert _distance(stock, grouped) <= 2 * own
        assert _distance(stock, alone) <= 2 * own
