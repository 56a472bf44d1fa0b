"""The same training on fastgan's modules and on stock ones: equal first, then timed in turns."""

from __future__ import annotations

import dataclasses
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from fastgan.data import ImageData

from .config import TrainConfig
from .loop import Trainer
from .recipe import Recipe

if TYPE_CHECKING:
    from lightning.fabric import Fabric

__all__ = ["Comparison", "compare_with_stock"]

_Parts = dict[str, Tensor]

# Relative, on the norms of the losses and of each network's gradients in a first step. Float32 rounding gives about
# 1e-6; the generator's gradient is taken after an update by Adam, whose first step is the sign of the gradient and so
# turns the rounding of gradients near zero into differences of their own.
_TOLERANCE = {torch.float32: 1e-4, torch.float64: 1e-9}


@dataclass
class Comparison:
    """Images/s of fastgan and of stock in each pair of neighbouring segments, and how far their first steps differ."""

    pairs: list[tuple[float, float]]
    difference: float

    def __str__(self) -> str:
        by_ratio = sorted(self.pairs, key=lambda pair: pair[0] / pair[1])
        low, median, high = (fast / stock for fast, stock in (by_ratio[0], by_ratio[len(by_ratio) // 2], by_ratio[-1]))
        # Both rates are of the pair that has the median ratio: medians of each side alone may contradict it.
        fast, stock = by_ratio[len(by_ratio) // 2]
        text = (
            f"fastgan {fast:.0f} images/s, stock PyTorch {stock:.0f} images/s: "
            f"ratio {median:.2f} (median of {len(self.pairs)} pairs, {low:.2f} to {high:.2f})"
        )
        return f"{text}; the ratios span 1: no difference shown" if low <= 1 <= high else text


def _first_step(recipe: type[Recipe], config: TrainConfig, data: ImageData, fabric: Fabric) -> tuple[Trainer, _Parts]:
    """Return a fresh trainer after one step, and that step's losses and gradients."""
    trainer = Trainer(recipe, config, data, fabric)
    parts = {"losses": torch.stack(list(trainer.update().values()))}
    for name, module in (("generator", trainer.generator.module), ("discriminator", trainer.discriminator.module)):
        gradients = torch.cat([p.grad.flatten() for p in module.parameters() if p.grad is not None])
        if not gradients.any():
            raise RuntimeError(f"the {name}'s gradients are all zero after one step: the comparison shows nothing")
        parts[f"gradients of the {name}"] = gradients
    return trainer, parts


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
        Segments of each side, odd for a true median.

    Raises
    ------
    RuntimeError
        If losses or gradients of the first step differ by more than rounding, or a network has no gradient to compare:
        then no speed is reported.
    """
    fast, got = _first_step(recipe, dataclasses.replace(config, stock=False), data, fabric)
    stock, expected = _first_step(recipe, dataclasses.replace(config, stock=True), data, fabric)
    difference = 0.0
    for name, reference in expected.items():
        part = ((got[name] - reference).norm() / reference.norm()).item()
        if not part <= _TOLERANCE[reference.dtype]:
            raise RuntimeError(f"fastgan and stock modules disagree after one step: {name} differ by {part:.1e}")
        difference = max(difference, part)

    def images_per_second(trainer: Trainer) -> float:
        _wait(fabric.device)
        start = time.perf_counter()
        for _ in range(steps):
            trainer.update()
        _wait(fabric.device)
        return steps * trainer.images_per_step / (time.perf_counter() - start)

    pairs_with_warm_up = [(images_per_second(fast), images_per_second(stock)) for _ in range(pairs + 1)]
    return Comparison(pairs_with_warm_up[1:], difference)


def _wait(device: torch.device) -> None:
    if device.type != "cpu":
        torch.get_device_module(device).synchronize(device)
