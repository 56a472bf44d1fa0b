"""The same training on fastgan's modules and on stock ones: equal first, then timed in turns."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import time
from collections.abc import Iterator
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

__all__ = ["Comparison", "LossCurves", "compare_with_stock", "loss_curves"]

_Parts = dict[str, Tensor]

#: Relative, on the norms of the losses and of each network's gradients in a first step. In float32 a rounding of 1e-6
#: takes about as large a share of the rectifiers to the other side of zero, each an error of its own size: gradients
#: differ by the root of that share. The demo's have 6e-4, and 5e-4 with exact convolutions.
_TOLERANCE = {torch.float64: (1e-9, 1e-9), torch.float32: (1e-4, 1e-2)}


@dataclass
class Comparison:
    """Images/s of fastgan and of stock in each pair of neighbouring segments, and how far their first steps differ."""

    pairs: list[tuple[float, float]]
    differences: dict[torch.dtype, float]

    def _by_ratio(self) -> list[tuple[float, float]]:
        return sorted(self.pairs, key=lambda pair: pair[0] / pair[1])

    def ratios(self) -> tuple[float, float, float]:
        """The least, the median and the greatest ratio of images/s, fastgan's over stock's."""
        ratios = [fast / stock for fast, stock in self._by_ratio()]
        return ratios[0], ratios[len(ratios) // 2], ratios[-1]

    def __str__(self) -> str:
        low, median, high = self.ratios()
        # Both rates are of the pair that has the median ratio: medians of each side alone may contradict it.
        fast, stock = self._by_ratio()[len(self.pairs) // 2]
        text = (
            f"fastgan {fast:.0f} images/s, stock PyTorch {stock:.0f} images/s: "
            f"ratio {median:.2f} (median of {len(self.pairs)} pairs, {low:.2f} to {high:.2f})"
        )
        return f"{text}; the ratios span 1: no difference shown" if low <= 1 <= high else text


@dataclass
class LossCurves:
    """Each loss in each step, by name.

    Attributes
    ----------
    fast, stock : dict
        On fastgan's modules and on stock ones.
    nudged : dict
        On stock ones whose initial weights are all the next larger number: what rounding alone becomes.
    """

    fast: dict[str, list[float]]
    stock: dict[str, list[float]]
    nudged: dict[str, list[float]]

    def difference(self) -> tuple[float, int]:
        """The largest difference, relative to its curve's largest magnitude, and the step, from 1, it is reached in.

        NaN, in the first step, where a loss is not finite.
        """
        return _apart(self.fast, self.stock)

    def rounding(self) -> float:
        """The same of the nudged run, whose only difference is rounding."""
        return _apart(self.nudged, self.stock)[0]


def _apart(curves: dict[str, list[float]], expected: dict[str, list[float]]) -> tuple[float, int]:
    found = (0.0, 1)
    for name in expected:
        given, stock = (torch.tensor(curve[name], dtype=torch.float64) for curve in (curves, expected))
        apart = (given - stock).abs() / stock.abs().max()
        if not apart.isfinite().all():
            return float("nan"), 1
        found = max(found, (apart.max().item(), int(apart.argmax()) + 1))
    return found


@torch.no_grad()
def _nudge(trainer: Trainer) -> None:
    for name, module in trainer._modules().items():
        if name != "ema":
            for parameter in module.parameters():
                parameter.copy_(torch.nextafter(parameter, torch.tensor(math.inf, dtype=parameter.dtype)))


@contextlib.contextmanager
def _default_dtype(dtype: torch.dtype) -> Iterator[None]:
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


def loss_curves(
    recipe: type[Recipe], config: TrainConfig, data: ImageData, fabric: Fabric, *, steps: int
) -> LossCurves:
    """The losses of the first ``steps`` steps of both sets of modules, from one seed, in float64.

    There only a mistake makes a difference, at first: training amplifies rounding from step to step, which a third
    run shows, of stock modules that start one rounding away. ``recipe``,
    ``config``, ``data`` and ``fabric`` are those of ``compare_with_stock``.
    """
    sides = []
    with _default_dtype(torch.float64):
        for stock, nudged in ((False, False), (True, False), (True, True)):
            trainer = Trainer(recipe, dataclasses.replace(config, stock=stock), data, fabric)
            if nudged:
                _nudge(trainer)
            taken = [trainer.update() for _ in range(steps)]
            sides.append({name: [step[name].item() for step in taken] for name in taken[0]})
    return LossCurves(*sides)


def _first_step(recipe: type[Recipe], config: TrainConfig, data: ImageData, fabric: Fabric) -> tuple[Trainer, _Parts]:
    """Return a fresh trainer after one step that changes no weights, and that step's losses and gradients.

    Adam's first step is the sign of the gradient: it would turn the rounding of the discriminator's gradients near zero
    into differences of its own in what comes after it, the generator's loss and gradients.
    """
    trainer = Trainer(recipe, config, data, fabric)
    groups = [group for each in trainer._optimizers().values() for group in each.param_groups]
    rates = [group["lr"] for group in groups]
    for group in groups:
        group["lr"] = 0.0
    trainer.recipe.prepare = lambda *_: None  # type: ignore[method-assign]  # which may set the rates
    parts = {"losses": torch.stack(list(trainer.update().values()))}
    del trainer.recipe.prepare
    for group, rate in zip(groups, rates, strict=True):
        group["lr"] = rate
    for name, module in trainer._modules().items():
        if name == "ema":
            continue
        gradients = torch.cat([p.grad.flatten() for p in module.parameters() if p.grad is not None])
        if not gradients.any():
            raise RuntimeError(f"the {name}'s gradients are all zero after one step: the comparison shows nothing")
        parts[f"gradients of the {name}"] = gradients
    return trainer, parts


def compare_with_stock(
    recipe: type[Recipe],
    config: TrainConfig,
    data: ImageData,
    fabric: Fabric,
    *,
    steps: int,
    pairs: int,
    seconds: float = 0.0,
) -> Comparison:
    """Time training on both sets of modules in turns (A B A B), after checking that a first step agrees.

    In float64, where only a mistake makes a difference, and then as it is timed.

    Parameters
    ----------
    recipe, config, data, fabric
        As for ``Trainer``; ``config.stock`` is set on each side.
    steps : int
        Steps in a timed segment, or a part of it: whole periods of what is not due in every step.
    pairs : int
        Segments of each side, odd for a true median.
    seconds : float, default: 0.0
        A segment takes so many steps again until it has lasted this long, by the clock.

    Raises
    ------
    RuntimeError
        If losses or gradients of the first step differ by more than rounding, or a network has no gradient to compare:
        then no speed is reported.
    """
    differences: dict[torch.dtype, float] = {}
    for dtype in dict.fromkeys((torch.float64, torch.get_default_dtype())):
        with _default_dtype(dtype):
            fast, got = _first_step(recipe, dataclasses.replace(config, stock=False), data, fabric)
            stock, expected = _first_step(recipe, dataclasses.replace(config, stock=True), data, fabric)
        differences[dtype] = 0.0
        for name, reference in expected.items():
            part = ((got[name] - reference).norm() / reference.norm()).item()
            if not part <= _TOLERANCE[dtype][name != "losses"]:
                raise RuntimeError(
                    f"fastgan and stock modules disagree after one step in {dtype}: {name} differ by {part:.1e}"
                )
            differences[dtype] = max(differences[dtype], part)

    def images_per_second(trainer: Trainer) -> float:
        _wait(fabric.device)
        start, images = time.perf_counter(), 0
        while True:
            for _ in range(steps):
                trainer.update()
            _wait(fabric.device)
            images += steps * trainer.images_per_step
            if (taken := time.perf_counter() - start) >= seconds:
                return images / taken

    pairs_with_warm_up = [(images_per_second(fast), images_per_second(stock)) for _ in range(pairs + 1)]
    return Comparison(pairs_with_warm_up[1:], differences)


def _wait(device: torch.device) -> None:
    if device.type != "cpu":
        torch.get_device_module(device).synchronize(device)
