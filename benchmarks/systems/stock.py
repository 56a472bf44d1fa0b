"""A recipe on fastgan's modules and on stock ones: the same losses in float64, and images/s."""

from __future__ import annotations

import dataclasses
import math

import torch

from fastgan.data import ImageData
from fastgan.trainers.compare import compare_with_stock, loss_curves
from fastgan.trainers.config import TrainConfig
from fastgan.trainers.processes import make_fabric
from fastgan.trainers.progan import ProGANConfig
from fastgan.trainers.recipe import Recipe
from fastgan.trainers.stylegan2_config import StyleGAN2Config

from .section import Figure, Section

__all__ = ["against_stock", "curve_config", "period"]

CURVE_STEPS, CURVE_BATCH = 50, 8
#: Of the preset's learning rates, for the curves: at those themselves some recipes are chaotic, and after 50 steps
#: rounding alone looks like a mistake (unit's 1e-16 has become 1e-2).
CURVE_RATES = 0.03
#: Of the curves' differences in float64.
TOLERANCE = 1e-6
PAIRS, SECONDS = 5, 2.0


def curve_config(config: TrainConfig) -> TrainConfig:
    """Settings of the float64 toy: the preset's networks and losses in small batches at small learning rates."""
    names = [field.name for field in dataclasses.fields(config)]
    rates = {name: CURVE_RATES * getattr(config, name) for name in names if name == "lr" or name.endswith("_lr")}
    return dataclasses.replace(config, batch_size=CURVE_BATCH, accumulate=1, **rates)


def period(config: TrainConfig) -> int:
    """Steps after which all that is not due in every step has been due: a timed segment has whole ones."""
    return math.lcm(config.r1_every, config.path_every) if isinstance(config, StyleGAN2Config) else 1


def against_stock(
    recipe: type[Recipe],
    config: TrainConfig,
    data: ImageData,
    *,
    curve_steps: int = CURVE_STEPS,
    pairs: int = PAIRS,
    seconds: float = SECONDS,
) -> Section:
    """The curves' largest relative difference, and the median, least and greatest ratio of neighbouring segments.

    Both are trained here, from the start: no run of the recipe is needed.
    """
    fabric = make_fabric(config.device, config.processes, config.precision)
    curves = loss_curves(recipe, curve_config(config), data, fabric, steps=curve_steps)
    difference, step = curves.difference()
    if isinstance(config, ProGANConfig):
        config = dataclasses.replace(config, first_size=config.image_size)  # its first steps are at a lower resolution
    speed = compare_with_stock(recipe, config, data, fabric, steps=period(config), pairs=pairs, seconds=seconds)
    low, median, high = speed.ratios()
    return Section(
        "Against stock modules",
        f"Losses of the first {curve_steps} steps from one seed in float64, batches of {CURVE_BATCH} and {CURVE_RATES} "
        "of the preset's learning rates: their largest difference, relative to the curve's largest magnitude, the step "
        "it is reached in, and how far stock modules come from themselves when their initial weights are each the next "
        "larger number. At the preset's own rates some recipes are chaotic, and rounding alone comes to a hundredth. "
        f"Images/s of the preset in float32 over those of stock modules, {pairs} neighbouring segments of each in "
        f"turns, each of whole periods of lazy penalties and of {seconds:g} s at least.\n\n"
        "Nothing is gained where most of the time is in what both sides have from PyTorch: 5x5 convolutions of stride "
        "2 and 1/2 (dcgan, wgan, vae, cvae, vaegan) and the matrix products of perceptrons (gan). Nor in stargan and "
        "unit at this preset's size: beside such convolutions, a step is thousands of calls on small tensors. "
        "There, and in batch norms of 4x4 maps, PyTorch's own calls cost less. gan's modules are the same on both "
        "sides: its ratio shows how far a measurement is off.",
        {
            "losses differ by": Figure(difference),
            "in step": Figure(step),
            "rounding alone": Figure(curves.rounding()),
            "images/s, ratio": Figure(median),
            "least": Figure(low),
            "greatest": Figure(high),
            "threads": Figure(torch.get_num_threads()),
        },
        {f"losses agree with stock modules' to {TOLERANCE:.0e}": difference <= TOLERANCE},
    )
