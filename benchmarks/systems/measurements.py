"""Which figures a recipe has: a function of the finished run for each kind of them."""

from __future__ import annotations

from .bounds import bounds, sharpness, sharpness_beside_vae
from .classes import recognised_classes
from .distances import distances
from .growth import distances_by_resolution
from .likelihood import parzen_log_likelihood
from .section import Measurement
from .translations import translations

__all__ = ["MEASURED_BESIDE", "measurements"]

#: Recipes one of whose figures is beside another's, which must have been trained before.
MEASURED_BESIDE = {"vaegan": "vae"}

# Recipes that are not here have what every generator of images has.
_MEASUREMENTS: dict[str, tuple[Measurement, ...]] = {
    "gan": (distances, parzen_log_likelihood),
    "progan": (distances, distances_by_resolution),
    "stargan": (translations,),
    "unit": (translations,),
    "vae": (bounds, sharpness),
    "cvae": (bounds, sharpness, recognised_classes),
    "vaegan": (distances, sharpness_beside_vae),
}


def measurements(recipe: str, conditional: bool) -> tuple[Measurement, ...]:
    """What measures a run of ``recipe``, whose generator takes labels or not."""
    if recipe in _MEASUREMENTS:
        return _MEASUREMENTS[recipe]
    return (distances, recognised_classes) if conditional else (distances,)
