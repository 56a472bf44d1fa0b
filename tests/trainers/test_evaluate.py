"""The Fréchet distance of a run."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from fastgan.data import ArrayData
from fastgan.trainers.evaluate import FrechetEvaluator
from fastgan.trainers.recipe import Recipe

from .runs import tiny_trainer


class _Replay(nn.Module):
    """A generator that shows given images in turn, so that its distance is known to be small."""

    def __init__(self, images: Tensor) -> None:
        super().__init__()
        self.images = images
        self.at = 0


class _ReplayRecipe:
    num_classes = None

    def sample(self, generator: _Replay, n: int, labels: Tensor | None, random: torch.Generator) -> Tensor:
        assert labels is None
        generator.at += n
        return generator.images[generator.at - n : generator.at]


def test_the_data_itself_is_near_and_noise_is_far() -> None:
    trainer = tiny_trainer()
    images, _ = trainer.data.batch(torch.arange(300))
    data = ArrayData("digits", images)
    recipe: Recipe = _ReplayRecipe()  # type: ignore[assignment]
    distance = FrechetEvaluator(recipe, data, 300, torch.device("cpu"))
    assert "EfficientNet-Lite0 at 64 px, 300 real and 300 generated" in distance.title
    pixels = images.float() / 127.5 - 1
    same = distance(_Replay(pixels))
    far = distance(_Replay(torch.rand(300, 1, 32, 32) * 2 - 1))
    assert abs(same) < 1e-3 * far


def test_repeats_and_leaves_random_numbers_alone() -> None:
    trainer = tiny_trainer()
    distance = FrechetEvaluator(trainer.recipe, trainer.data, 40, torch.device("cpu"))
    before = torch.get_rng_state()
    first = distance(trainer.ema.module)
    assert torch.equal(before, torch.get_rng_state())
    assert first == distance(trainer.ema.module)
