"""The Parzen-window log-likelihood that the first GAN was measured by."""

from __future__ import annotations

from typing import cast

from fastgan.trainers.parzen import ParzenEvaluator

from .section import Figure, Section
from .training import FinishedRun

__all__ = ["parzen_log_likelihood"]

SAMPLES = 5000


def parzen_log_likelihood(run: FinishedRun, samples: int = SAMPLES) -> Section:
    """Before and after the training."""
    trainer = run.trainer
    assert trainer.held_out is not None
    evaluator = ParzenEvaluator(trainer.recipe, trainer.held_out, samples)
    figures = []
    for generator in (run.untrained, run.trained()):
        figures.append(Figure(evaluator(generator), cast(float, evaluator.standard_error)))
    return Section(
        "Parzen-window log-likelihood",
        f"In {evaluator.title}; the higher, the better.",
        {"untrained": figures[0], "at the end": figures[1]},
        {"the log-likelihood rises": figures[1].value > figures[0].value},
    )
