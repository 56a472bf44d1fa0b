"""What an autoencoder's evidence is worth on images not trained on, and how sharp its samples are."""

from __future__ import annotations

from typing import cast

from fastgan.models.vae import Autoencoder
from fastgan.trainers.bounds import held_out_bound
from fastgan.trainers.run import load_run
from fastgan.trainers.sharpness import relative_sharpness
from fastgan.trainers.vae import VAE

from .section import Figure, Section
from .training import FinishedRun

__all__ = ["bounds", "sharpness", "sharpness_beside_vae"]

IMPORTANCE_SAMPLES, IMPORTANCE_IMAGES = 50, 500
SAMPLES = 2000


def bounds(run: FinishedRun, importance_samples: int = IMPORTANCE_SAMPLES) -> Section:
    """Evidence lower bound, untrained and trained, and the importance-weighted one on fewer images."""
    recipe, held_out = cast(VAE, run.trainer.recipe), run.trainer.held_out
    assert held_out is not None
    before, after = (
        held_out_bound(cast(Autoencoder, each), recipe.likelihood, held_out) for each in (run.untrained, run.trained())
    )
    weighted = held_out_bound(
        cast(Autoencoder, run.trained()),
        recipe.likelihood,
        held_out,
        importance_samples=importance_samples,
        images=IMPORTANCE_IMAGES,
    )
    return Section(
        "Evidence lower bound",
        f"Nats an image ({recipe.likelihood.title}) on {len(held_out)} images not trained on, ± standard error; the "
        f"last one is importance-weighted, of {importance_samples} codes, on {IMPORTANCE_IMAGES} of them.",
        {
            "untrained": Figure(*before),
            "at the end": Figure(*after),
            "importance-weighted": Figure(*weighted),
        },
        {"the bound rises": after.mean > before.mean},
    )


def _section(figure: Figure, goals: dict[str, bool]) -> Section:
    return Section(
        "Sharpness",
        f"Mean variance of the Laplacian of {SAMPLES} samples over that of as many real images, ± standard error: 1 is "
        "as sharp as they are.",
        {"of samples": figure},
        goals,
    )


def sharpness(run: FinishedRun) -> Section:
    """Of samples at the end."""
    return _section(Figure(*relative_sharpness(run.trainer.recipe, run.trained(), run.data, SAMPLES)), {})


def sharpness_beside_vae(run: FinishedRun) -> Section:
    """The same, more than that of the run of vae, which must have been trained before."""
    recipe, generator, _ = load_run(run.folder.parent / "vae")
    plain, plain_error = relative_sharpness(recipe, generator, run.data, SAMPLES)
    value, error = relative_sharpness(run.trainer.recipe, run.trained(), run.data, SAMPLES)
    apart = value - plain > 3 * (error**2 + plain_error**2) ** 0.5
    return _section(Figure(value, error), {"vaegan's samples are sharper than vae's, by three standard errors": apart})
