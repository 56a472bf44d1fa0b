"""A recipe on fastgan's modules and on stock ones: the same losses in float64, and images/s."""

from __future__ import annotations

import dataclasses
import math

import torch

from fastgan.trainers.compare import compare_with_stock, loss_curves
from fastgan.trainers.config import TrainConfig
from fastgan.trainers.progan import ProGANConfig
from fastgan.trainers.stylegan2_config import StyleGAN2Config

from .section import Figure, Section
from .training import FinishedRun

__all__ = ["against_stock"]

CURVE_STEPS, CURVE_BATCH = 50, 8
LEAST_SEGMENT, PAIRS = 3, 5
#: Of float64's loss curves, or so many times what rounding alone becomes in them: training amplifies it.
TOLERANCE, TIMES_ROUNDING = 1e-6, 100


def segment_steps(config: TrainConfig) -> int:
    """Steps in a timed segment: whole periods of what is not due in every step, so that each has its share."""
    period = math.lcm(config.r1_every, config.path_every) if isinstance(config, StyleGAN2Config) else 1
    return -(-LEAST_SEGMENT // period) * period


def against_stock(run: FinishedRun, curve_steps: int = CURVE_STEPS, pairs: int = PAIRS) -> Section:
    """The curves' largest relative difference, and the median, least and greatest ratio of neighbouring segments."""
    trainer = run.trainer
    recipe, config = type(trainer.recipe), trainer.config
    data, fabric = run.data, trainer.fabric
    curves = loss_curves(
        recipe, dataclasses.replace(config, batch_size=CURVE_BATCH, accumulate=1), data, fabric, steps=curve_steps
    )
    (difference, step), rounding = curves.difference(), curves.rounding()
    if isinstance(config, ProGANConfig):
        config = dataclasses.replace(config, first_size=config.image_size)  # its first steps are at a lower resolution
    steps = segment_steps(config)
    speed = compare_with_stock(recipe, config, data, fabric, steps=steps, pairs=pairs)
    low, median, high = speed.ratios()
    return Section(
        "Against stock modules",
        f"Losses of the first {curve_steps} steps from one seed in float64, batches of {CURVE_BATCH}: their largest "
        "difference, relative to the curve's largest magnitude, the step it is reached in, and how far stock modules "
        "come from themselves when their initial weights are each the next larger number. Images/s of the preset "
        f"in float32 over those of stock modules, {pairs} neighbouring segments of each in turns.",
        {
            "losses differ by": Figure(difference),
            "in step": Figure(step),
            "rounding alone": Figure(rounding),
            "images/s, ratio": Figure(median),
            "least": Figure(low),
            "greatest": Figure(high),
            "threads": Figure(torch.get_num_threads()),
            "steps a segment": Figure(steps),
        },
        {
            f"losses agree to {TOLERANCE:.0e}, or to {TIMES_ROUNDING} times what rounding alone becomes": (
                difference <= max(TOLERANCE, TIMES_ROUNDING * rounding)
            )
        },
    )
