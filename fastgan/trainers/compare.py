"""The same training on fastgan's modules and on stock ones: equal first, then timed in turns."""

from __future__ import annotations

import dataclasses
import statistics
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from fastgan.data import ImageData

from .config import TrainConfig
from .loop import Trainer
from .recipe import Recipe

if TYPE_CHECKING:
    from lightning.fabric import Fabric

__all__ = ["Comparison", "compare_with_stock"]

# Relative, on the norm of all gradients of a first step. Float32 rounding gives about 1e-6; the generator's gradient is
# taken after an update by Adam, whose first step is the sign of the gradient and so turns the rounding of gradients
# near zero into differences of their own.
_TOLERANCE = {torch.float32: 1e-4, torch.float64: 1e-9}


@dataclass
class Comparison:
    """Images/s of each (medians), and fastgan's over stock's in each pair of neighbouring segments."""

    fast: float
    stock: float
    ratios: list[float]
    difference: float

    def __str__(self) -> str:
        low, median, high = min(self.ratios), statistics.median(self.ratios), max(self.ratios)
        return (
            f"fastgan {self.fast:.0f} images/s, stock PyTorch {self.stock:.0f} images/s; "
            f"ratio {median:.2f} (median of {len(self.ratios)} pairs, {low:.2f} to {high:.2f})"
        )


def _gradients(module: nn.Module) -> Tensor:
    return torch.cat([p.grad.flatten() for p in module.parameters() if p.grad is not None])


def _first_step(recipe: type[Recipe], config: TrainConfig, data: ImageData, fabric: Fabric) -> tuple[Trainer, Tensor]:
    """Return a fresh trainer after one step, and that step's losses and gradients in one vector."""
    trainer = Trainer(recipe, config, data, fabric)
    losses = torch.stack(list(trainer.update().values()))
    modules = (trainer.generator.module, trainer.discriminator.module)
    return trainer, torch.cat([losses, *map(_gradients, modules)])


def compare_with_stock(
    recipe: type[Recipe], config: TrainConfig, data: ImageData, fabric: Fabric, *, steps: int, pairs: int
) -> Comparison:
    """Time training on both sets of modules in turns (A B A B), after checking that a first step agrees.

    Parameters
    ----------
    recipe, config, data, fabric
        As for ``Trainer``; ``config.stock`` is set on each side.
    steps : int
        Steps in a timed segment.
    pairs : int
        Segments of each side.

    Raises
    ------
    RuntimeError
        If losses and gradients of the first step differ by more than rounding: then no speed is reported.
    """
    fast, got = _first_step(recipe, dataclasses.replace(config, stock=False), data, fabric)
    stock, expected = _first_step(recipe, dataclasses.replace(config, stock=True), data, fabric)
    difference = ((got - expected).norm() / expected.norm()).item()
    if not difference <= _TOLERANCE[expected.dtype]:
        raise RuntimeError(f"fastgan and stock modules disagree after one step: relative difference {difference:.1e}")

    def images_per_second(trainer: Trainer) -> float:
        _wait(fabric.device)
        start = time.perf_counter()
        for _ in range(steps):
            trainer.update()
        _wait(fabric.device)
        return steps * trainer.images_per_step / (time.perf_counter() - start)

    rates = [(images_per_second(fast), images_per_second(stock)) for _ in range(pairs + 1)][1:]  # the first warms up
    medians = [statistics.median(side) for side in zip(*rates, strict=True)]
    return Comparison(medians[0], medians[1], [a / b for a, b in rates], difference)


def _wait(device: torch.device) -> None:
    if device.type != "cpu":
        torch.get_device_module(device).synchronize(device)
