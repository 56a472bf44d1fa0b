"""Training on fastgan's layers is training on stock ones: the same weights from the same seed."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

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


@pytest.mark.usefixtures("_float64")
def test_float64_for_200_steps() -> None:
    (start, stock), (fast_start, fast) = (
        _train(tiny_trainer(stock=stock, precision="64-true", n_dis=1), 200) for stock in (True, False)
    )
    # The first estimates of the singular vectors are sums, in another order.
    estimates = [name for name in start if name.endswith(("._u", "._v"))]
    assert estimates
    for name in start:
        tolerance = 1e-14 if name in estimates else 0
        torch.testing.assert_close(fast_start[name], start[name], rtol=0, atol=tolerance)
    moved = [name for name in start if (stock[name] - start[name]).abs().max() > 1e-3]
    assert {name.split(".")[0] for name in moved} == {"generator", "discriminator", "ema"}
    assert {t.dtype for name, t in stock.items() if "num_batches" not in name} == {torch.float64}
    for name in stock:
        torch.testing.assert_close(
            fast[name], stock[name], rtol=1e-9, atol=1e-9 * max(1, stock[name].abs().max().item())
        )


def _own_distance(stock: Weights, steps: int) -> float:
    """How far stock training ends up from itself when it starts one unit in the last place away."""
    distances = []
    for towards in (torch.inf, -torch.inf):
        nudged = tiny_trainer(stock=True)
        with torch.no_grad():
            for p in (*nudged.generator.module.parameters(), *nudged.discriminator.module.parameters()):
                p.copy_(torch.nextafter(p, torch.full_like(p, towards)))
        distances.append(_distance(stock, _train(nudged, steps)[-1]))
    return max(distances)


@pytest.mark.parametrize("steps", [5, 50])
def test_float32_stays_within_chaos(steps: int) -> None:
    """No further from stock than twice the distance of stock from itself started one unit in the last place away.

    (A power iteration sums in another order than stock's, and Adam turns the rounding of gradients that are zero in
    truth, those of biases before a norm, into whole steps: the bits are equal at no step.)
    """
    (_, stock), (_, fast) = (_train(tiny_trainer(stock=stock), steps) for stock in (True, False))
    own = _own_distance(stock, steps)
    assert 0 < own < 1e-2
    assert _distance(stock, fast) <= 2 * own
