"""Whether networks that grow improve at each of their resolutions."""

from __future__ import annotations

from typing import cast

import torch

from fastgan.trainers.growth import GrowthEvaluator
from fastgan.trainers.progan import ProGAN

from .generated import network
from .section import Figure, Section
from .training import FinishedRun

__all__ = ["distances_by_resolution"]

SAMPLES = 2000


def distances_by_resolution(run: FinishedRun, samples: int = SAMPLES) -> Section:
    """Fréchet distance at each resolution that a checkpoint falls on fully grown: untrained, first and last."""
    recipe = cast(ProGAN, run.trainer.recipe)
    evaluator = GrowthEvaluator(recipe, run.trainer.data, samples, torch.device("cpu"))
    found: dict[float, list[float]] = {}
    for step, generator in run.generators():
        growth = recipe.growth_at(step)
        if step and growth.is_integer():
            found.setdefault(growth, []).append(evaluator.when_grown(generator, growth))
    figures, improves = {}, True
    for growth, values in found.items():
        size = 4 << int(growth)
        shown = {"untrained": evaluator.when_grown(run.untrained, growth)}
        if len(values) > 1:
            shown["faded in"] = values[0]
        shown["trained"] = values[-1]
        figures |= {f"{size} x {size}, {name}": Figure(value) for name, value in shown.items()}
        improves &= values[-1] == min(shown.values())
    return Section(
        "Fréchet distance at each resolution",
        f"On {network().title}, of {samples} images a side, real ones brought to the same resolution: untrained, when "
        "the resolution has been faded in, and when it has been trained. They compare within a resolution only.",
        figures,
        {"the Fréchet distance falls at each resolution": improves},
    )
