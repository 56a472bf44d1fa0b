"""When networks grow, and their Fréchet distance: at the size that their images have."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fastgan import features
from fastgan.data import ImageData
from fastgan.models.progan import Growth

from .adversarial import check_image_size
from .config import ConfigError
from .evaluate import FrechetEvaluator
from .images import to_uint8

if TYPE_CHECKING:
    from .progan import ProGAN, ProGANConfig

__all__ = ["GrowthEvaluator", "check_sizes", "growth_at"]

_SIZES = (4, 8, 16, 32, 64, 128, 256, 512, 1024)


def check_sizes(config: ProGANConfig) -> None:
    """ConfigError unless images can grow from the settings' first size to their last one."""
    check_image_size(config, *_SIZES)
    if config.first_size not in _SIZES or config.first_size > config.image_size:
        raise ConfigError(
            f"first_size must be a power of 2 from 4 to image_size {config.image_size}, got {config.first_size}"
        )


def growth_at(step: int, phase_steps: int, first_size: int, last_size: int) -> float:
    """How far networks have grown at ``step``: each size after the first is faded in, then trained.

    Parameters
    ----------
    step : int
        From 0.
    phase_steps : int
        Steps of a fade, and of the training of a size.
    first_size, last_size : int
        Height and width of images, powers of 2.

    Returns
    -------
    float
        A value of ``Growth``.
    """
    phase, rest = divmod(step, phase_steps)
    faded = phase // 2 + (rest / phase_steps if phase % 2 else 0)
    return min(math.log2(first_size) - 2 + faded, math.log2(last_size) - 2)


class GrowthEvaluator:
    """Distance between a generator's images and real ones of its own resolution, both enlarged pixel by pixel.

    A fade shows in both: the real images are those that the discriminator sees. Distances at different resolutions
    are different measurements; within one they tell whether training has improved it.

    Parameters
    ----------
    recipe : ProGAN
        All of whose networks share its growth.
    data, samples, device
        As for ``FrechetEvaluator``.

    Attributes
    ----------
    growth : Growth
        The recipe's.
    """

    def __init__(self, recipe: ProGAN, data: ImageData, samples: int, device: torch.device) -> None:
        self.growth = recipe.growth
        self._recipe, self._data, self._samples, self._device = recipe, data, samples, device
        self._network = features.get("efficientnet-lite0").to(device)
        self._measured: tuple[float, FrechetEvaluator] | None = None
        self.title = f"{self._evaluator().title}, at the resolution of the time"

    def _evaluator(self) -> FrechetEvaluator:
        """What measures networks that have grown so far; the features of real images are kept until they grow on."""
        growth = self.growth.value
        if self._measured is None or self._measured[0] != growth:
            shown = _Shown(self._data, growth)
            evaluator = FrechetEvaluator(self._recipe, shown, self._samples, self._device, self._network)
            self._measured = growth, evaluator
        return self._measured[1]

    def __call__(self, generator: nn.Module) -> float:
        """Distance of ``generator`` (in evaluation mode), as far as it has grown."""
        return self._evaluator()(generator)

    def when_grown(self, generator: nn.Module, growth: float) -> float:
        """Distance of ``generator`` if it had grown as far as ``growth``: of an untrained one, for comparison."""
        before, self.growth.value = self.growth.value, growth
        try:
            return self(generator)
        finally:
            self.growth.value = before


class _Shown:
    """A data set at a lower resolution, enlarged to the size it had."""

    def __init__(self, data: ImageData, growth: float) -> None:
        self.name = data.name
        self.image_size = data.image_size
        self.image_channels = data.image_channels
        self.num_classes = data.num_classes
        self._data, self._growth = data, Growth(growth)

    def __len__(self) -> int:
        return len(self._data)

    def batch(self, indices: Tensor) -> tuple[Tensor, Tensor | None]:
        """See ``ImageData.batch``."""
        images, labels = self._data.batch(indices)
        shown = self._growth.shown(images / 127.5 - 1)
        return to_uint8(F.interpolate(shown, self.image_size)), labels

    def labels(self) -> Tensor | None:
        """The whole's."""
        return self._data.labels()

    def fingerprint(self) -> str:
        """The whole's, and the growth."""
        return f"{self._data.fingerprint()} grown to {self._growth.value}"

    def report(self) -> str | None:
        """The whole's."""
        return self._data.report()
