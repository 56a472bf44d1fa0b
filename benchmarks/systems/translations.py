"""How near translations come to the true drawings."""

from __future__ import annotations

from typing import cast

from fastgan.trainers.translation import TranslationRecipe
from fastgan.trainers.translation_score import score_translations

from .section import Figure, Section
from .training import FinishedRun

__all__ = ["translations"]

SAMPLES = 2000


def translations(run: FinishedRun, samples: int = SAMPLES) -> Section:
    """Of images not trained on, beside what the input is worth as it stands, and blurred."""
    score = score_translations(cast(TranslationRecipe, run.trainer.recipe), run.trained(), samples)
    return Section(
        "Translations of emoji not trained on",
        f"Against the true drawing, at most {samples} of them: the translation, the input as it stands, and the input "
        "after the box filter that serves it best. PSNR in dB; distances of the unit vectors of EfficientNet's maps.",
        {
            "PSNR": Figure(score.psnr),
            "input's": Figure(score.input_psnr),
            "blurred input's": Figure(score.blurred_psnr),
            "distance": Figure(score.distance),
            "input's distance": Figure(score.input_distance),
            "blurred input's distance": Figure(score.blurred_distance),
        },
        {
            "translations have a higher PSNR than their inputs": score.psnr > score.input_psnr,
            "translations' maps are nearer than their inputs'": score.distance < score.input_distance,
        },
    )
