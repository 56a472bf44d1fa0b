"""How far generated images are from real ones in the course of a run, and whether they cover them at its end."""

from __future__ import annotations

from torch import Tensor

from fastgan.data import ImageData
from fastgan.functional import frechet_distance_from_features, precision_recall_density_coverage

from .generated import extract, final_images, generate, network, real_features
from .section import Figure, Section
from .training import FinishedRun

__all__ = ["distances"]

#: On each side: of a Fréchet distance, and of precision and recall.
DISTANCE_SAMPLES, SAMPLES, NEIGHBOURS = 2000, 5000, 3


def _distance(real: Tensor, fake: Tensor, samples: int) -> float:
    return frechet_distance_from_features(real[:samples], fake[:samples]).item()


def _cover(real: Tensor, fake: Tensor) -> tuple[float, float]:
    found = precision_recall_density_coverage(real, fake, NEIGHBOURS)
    return found.precision.item(), found.recall.item()


def _of_real_images(data: ImageData, distance_samples: int, samples: int) -> str:
    """What the figures are between real images: nothing that is generated could do better."""
    if len(data) < 2 * samples:
        return ""
    real, others = real_features(data, samples), real_features(data, samples, after=samples)
    precision, recall = _cover(real, others)
    return (
        f" Of other real images of {data.name} at {data.image_size} pixels, the distance is "
        f"{_distance(real, others, distance_samples):.0f}, precision {precision:.2f} and recall {recall:.2f}."
    )


def distances(run: FinishedRun, distance_samples: int = DISTANCE_SAMPLES, samples: int = SAMPLES) -> Section:
    """Fréchet distance of the untrained generator and at each checkpoint; precision and recall at the last."""
    data = run.trainer.data
    real, fake = real_features(data, samples), extract(final_images(run, samples)[0])
    earlier = [
        extract(generate(run, generator, distance_samples)[0])
        for step, generator in run.generators()
        if step < run.trainer.config.steps
    ]
    values = [_distance(real, x, distance_samples) for x in (*earlier, fake)]
    precision, recall = _cover(real, fake)
    last = len(values) - 1
    columns = ["untrained", *(f"at {part}/{last}" for part in range(1, last)), "at the end"]
    return Section(
        "Fréchet distance, precision and recall",
        f"On {network().title}: Fréchet distances of {distance_samples} images a side, precision and recall at the end "
        f"of {samples} with k = {NEIGHBOURS}. They say nothing about FIDs."
        + _of_real_images(data, distance_samples, samples),
        {column: Figure(value) for column, value in zip(columns, values, strict=True)}
        | {"precision": Figure(precision), "recall": Figure(recall)},
        {
            "the Fréchet distance is at least 3 times below the untrained generator's": 3 * values[-1] <= values[0],
            "the Fréchet distance is the lowest of the run": values[-1] == min(values),
            "precision and recall are above 0.1": min(precision, recall) > 0.1,
        },
    )
