"""A recipe of one network: the loop takes one update of it a step, and nothing asks for a discriminator."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from lightning.fabric import Fabric
from torch import Tensor, nn
from torch.optim import SGD, Optimizer

from fastgan.data import open_data
from fastgan.models.layers import Layers
from fastgan.trainers import checkpoint
from fastgan.trainers.compare import compare_with_stock
from fastgan.trainers.config import ConfigError, TrainConfig, build_config, setting
from fastgan.trainers.loop import Trainer
from fastgan.trainers.recipe import Recipe


@dataclass
class _Config(TrainConfig):
    image_size: int = setting(8, "height and width")
    batch_size: int = setting(4, "images")
    data: str = setting("digits", "data set")


class _Mean(Recipe):
    """Learns the mean image by squared error."""

    name = "mean"
    Config = _Config
    presets: ClassVar[dict[str, dict[str, Any]]] = {"small": {}}
    default_preset = "small"
    num_classes = None

    def __init__(self, config: Any, image_channels: int, num_classes: int | None) -> None:
        self.config = config

    def networks(self, layers: Layers) -> tuple[nn.Module, None]:
        return nn.Linear(1, 64, bias=False), None

    def optimizers(self, generator: nn.Module, discriminator: Any) -> tuple[Optimizer, None]:
        return SGD(generator.parameters(), 0.5, momentum=0.5), None

    def generator_loss(self, generator: nn.Module, discriminator: Any, images: Tensor, labels: Tensor | None) -> Tensor:
        assert discriminator is None
        return (generator(images.new_ones(len(images), 1)) - images.flatten(1)).square().mean()

    def sample(self, generator: nn.Module, n: int, labels: Tensor | None, random: torch.Generator) -> Tensor:
        return generator(torch.ones(n, 1)).view(n, 1, 8, 8)


def _trainer(**values: Any) -> Trainer:
    config = build_config(_Config, values)
    return Trainer(_Mean, config, open_data("digits", image_size=8), Fabric(accelerator="cpu", devices=1))


def test_a_step_is_one_update_on_a_batch_of_its_own() -> None:
    trainer = _trainer(accumulate=2)
    weight, position = trainer.generator.module.weight.detach().clone(), trainer.sampler.position
    again = _trainer()
    images, _ = again._batch()
    losses = trainer.update()
    assert list(losses) == ["loss/generator"] and trainer.step == 1
    assert trainer.sampler.position - position == again.sampler.position == 4 == trainer.images_per_step
    expected = weight[:, 0] - 0.5 * 2 / 64 * (weight[:, 0] - images.flatten(1).mean(0))
    torch.testing.assert_close(trainer.generator.module.weight[:, 0], expected)


def test_checkpoints_hold_one_network_and_resume(tmp_path: Path) -> None:
    trainer = _trainer()
    trainer.update()
    trainer.save(tmp_path)
    trainer.update()
    path = checkpoint.latest(tmp_path)
    assert path is not None
    assert {name.split(".")[0] for name in checkpoint.load(path)[0]} == {"generator", "ema", "g_optimizer", "rng"}
    again = _trainer()
    again.load(path)
    again.update()
    assert torch.equal(again.generator.module.weight, trainer.generator.module.weight)


def test_it_compares_with_stock() -> None:
    fabric = Fabric(accelerator="cpu", devices=1)
    found = compare_with_stock(
        _Mean, build_config(_Config), open_data("digits", image_size=8), fabric, steps=1, pairs=1
    )
    assert found.differences[torch.float64] == 0.0 and len(found.pairs) == 1


@pytest.mark.parametrize(
    ("name", "value", "default"), [("n_dis", 2, "1"), ("schedule", "simultaneous", "'alternating'")]
)
def test_settings_of_the_discriminators_updates_are_refused(name: str, value: Any, default: str) -> None:
    with pytest.raises(ConfigError, match=f"{name} must be {default} for mean, which has no discriminator"):
        _trainer(**{name: value})
