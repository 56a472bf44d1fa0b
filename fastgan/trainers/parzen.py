"""The evaluation of the first GAN: log-likelihood of images not trained on, under a Parzen window of generated ones."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from fastgan.data import ImageData
from fastgan.functional.parzen import parzen_log_likelihood

from .recipe import Recipe

__all__ = ["ParzenEvaluator"]

_CHUNK = 500


class ParzenEvaluator:
    """Mean log-likelihood in nats; images count as vectors of pixels in [0, 1], as published.

    Half of the images held out choose the window's width out of ten from 0.1 to 1, on the other half the likelihood is
    measured. The same noise is used every time, and training's random numbers are not touched.

    Parameters
    ----------
    recipe : Recipe
        Makes the images; labels, where it wants them, in turn.
    held_out : ImageData
        Images that training does not see, at least four.
    samples : int
        Generated images.

    References
    ----------
    I. Goodfellow et al., "Generative Adversarial Nets", NeurIPS 2014, section 5 (10,000 samples there).
    """

    def __init__(self, recipe: Recipe, held_out: ImageData, samples: int) -> None:
        self._recipe = recipe
        self._samples = samples
        images = torch.cat([held_out.batch(chunk)[0] for chunk in torch.arange(len(held_out)).split(_CHUNK)])
        self._validation, self._test = (images.flatten(1).float() / 255).tensor_split(2)
        self._sigmas = torch.logspace(-1, 0, 10, dtype=torch.float64)
        self.sigma = self.standard_error = float("nan")
        self.title = f"nats, on {len(self._test)} images not trained on, window of {samples} generated images"

    @torch.no_grad()
    def __call__(self, generator: nn.Module) -> float:
        """The mean; ``sigma`` and ``standard_error`` are the width chosen and the mean's standard error."""
        random = torch.Generator().manual_seed(1)
        made = []
        for chunk in torch.arange(self._samples).split(_CHUNK):
            classes = self._recipe.num_classes
            labels: Tensor | None = None if classes is None else chunk % classes
            made.append(self._recipe.sample(generator, len(chunk), labels, random).flatten(1).float().cpu())
        window = (torch.cat(made) + 1) / 2
        chosen = parzen_log_likelihood(self._validation, window, self._sigmas).mean(1).argmax()
        self.sigma = self._sigmas[chosen].item()
        values = parzen_log_likelihood(self._test, window, self.sigma)
        self.standard_error = values.std().item() / len(values) ** 0.5
        return values.mean().item()
