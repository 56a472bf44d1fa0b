"""How near translations are to the true ones, where these are known."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .images import to_uint8
from .translation import TranslationRecipe

__all__ = ["FeatureMapDistance", "TranslationEvaluator", "TranslationScore", "psnr", "score_translations"]

_CHUNK = 250
#: Of the error that rounding to bytes alone makes; keeps the ratio finite where two images are the same.
_ROUNDING_VARIANCE = 1 / 12


def psnr(images: Tensor, truth: Tensor) -> Tensor:
    """Peak signal-to-noise ratio of each of ``images`` to ``truth``, both uint8 [N, C, H, W], in dB; 59 at most."""
    errors = (images.float() - truth.float()).square().flatten(1).mean(1)
    return 10 * torch.log10(255**2 / errors.clamp_min(_ROUNDING_VARIANCE))


class FeatureMapDistance:
    """Distance of images on EfficientNet-Lite0's feature maps, as LPIPS is on others but without learned weights.

    At the end of each of five stages every position's channels are brought to unit length; the squared differences are
    summed over channels, then averaged over positions and stages.

    References
    ----------
    R. Zhang, P. Isola, A. Efros, E. Shechtman, O. Wang, "The Unreasonable Effectiveness of Deep Features as a
    Perceptual Metric", CVPR 2018, equation 1 with w = 1.
    """

    #: Last blocks before the resolution falls, and the last of all.
    _STAGES = (0, 2, 4, 10, 15)

    def __init__(self) -> None:
        from fastgan import features

        self._network = features.get("efficientnet-lite0")
        self.title = f"feature maps of {self._network.title}, unit length, not LPIPS"
        self._maps: list[Tensor] = []
        blocks: Any = self._network.get_submodule("network._blocks")
        for stage in self._STAGES:
            blocks[stage].register_forward_hook(lambda *call: self._maps.append(call[2]))

    def _unit_maps(self, images: Tensor) -> list[Tensor]:
        self._maps.clear()
        self._network(images)
        return [F.normalize(each) for each in self._maps]

    @torch.no_grad()
    def __call__(self, images: Tensor, truth: Tensor) -> Tensor:
        """Distances [N] of ``images`` from ``truth``, both uint8 [N, 1 or 3, H, W]."""
        pairs = zip(images.split(_CHUNK), truth.split(_CHUNK), strict=True)
        found = []
        for some, theirs in pairs:
            maps = zip(self._unit_maps(some), self._unit_maps(theirs), strict=True)
            found.append(torch.stack([(x - y).square().sum(1).mean((1, 2)) for x, y in maps]).mean(0))
        return torch.cat(found)


class TranslationEvaluator:
    """Mean peak signal-to-noise ratio of translations to the true ones.

    Every subject that the data set leaves out is brought from every domain to every other one.

    Parameters
    ----------
    recipe : TranslationRecipe
        Of data whose true translations are known.
    samples : int
        Translations, at most; where there are more, some are drawn once and for all.
    """

    def __init__(self, recipe: TranslationRecipe, samples: int) -> None:
        self._recipe, sources = recipe, recipe.sources
        places, targets = (sources.domains[:, None] != torch.arange(len(recipe.labels))).nonzero().T
        chosen = torch.randperm(len(places), generator=torch.Generator().manual_seed(0))[:samples]
        self._places, self._targets = places[chosen], targets[chosen]
        self.inputs = sources.images[self._places]
        self.truth = sources.truth(self._places, self._targets)
        self.title = (
            f"dB, {len(chosen)} translations of images not trained on to the true ones; "
            f"the inputs have {psnr(self.inputs, self.truth).mean():.2f}"
        )

    @torch.no_grad()
    def translations(self, generator: nn.Module) -> Tensor:
        """What ``generator`` (in evaluation mode) makes of ``inputs``, uint8 [N, C, H, W]."""
        parts = zip(self._places.split(_CHUNK), self._targets.split(_CHUNK), strict=True)
        return torch.cat([to_uint8(self._recipe.translations(generator, *part)).cpu() for part in parts])

    def __call__(self, generator: nn.Module) -> float:
        """The mean, in dB."""
        return psnr(self.translations(generator), self.truth).mean().item()


@dataclass(frozen=True)
class TranslationScore:
    """Means over translations of images not trained on, and over their inputs, each against the true translation.

    Attributes
    ----------
    psnr, input_psnr : float
        In dB.
    blurred_psnr : float
        The input's after the box filter that serves it best: what is reached by blurring alone.
    distance, input_distance, blurred_distance : float
        Of :class:`FeatureMapDistance`; ``blurred_distance`` after the same filter.
    translations : int
        How many.
    """

    psnr: float
    input_psnr: float
    blurred_psnr: float
    distance: float
    input_distance: float
    blurred_distance: float
    translations: int


def _blurred(images: Tensor, radius: int) -> Tensor:
    blurred = F.avg_pool2d(images.float(), 2 * radius + 1, 1, radius, count_include_pad=False)
    return blurred.round().to(torch.uint8)


def score_translations(recipe: TranslationRecipe, generator: nn.Module, samples: int = 2000) -> TranslationScore:
    """Score ``generator`` (in evaluation mode) on at most ``samples`` translations.

    Raises
    ------
    ValueError
        If the true translations of the recipe's data are not known.
    """
    evaluator = TranslationEvaluator(recipe, samples)
    made, inputs, truth = evaluator.translations(generator), evaluator.inputs, evaluator.truth
    blurred = max((_blurred(inputs, radius) for radius in (1, 2, 3, 4)), key=lambda each: psnr(each, truth).mean())
    distance = FeatureMapDistance()
    sides = (made, inputs, blurred)
    ratios = tuple(psnr(each, truth).mean().item() for each in sides)
    distances = tuple(distance(each, truth).mean().item() for each in sides)
    return TranslationScore(*ratios, *distances, len(truth))  # type: ignore[call-arg, arg-type]
