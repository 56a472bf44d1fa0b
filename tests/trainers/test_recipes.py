"""What holds for every recipe: fastgan's modules against stock ones, checkpoints, precision, accumulation, samples."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.fabric import Fabric
from lightning.fabric.plugins import MixedPrecision

from fastgan.data import open_data
from fastgan.trainers import checkpoint
from fastgan.trainers.compare import compare_with_stock
from fastgan.trainers.diagnose import _tensors
from fastgan.trainers.loop import Trainer
from fastgan.trainers.recipe import find_recipe, recipe_names

from . import tiny


@pytest.fixture(autouse=True)
def _one_thread() -> Any:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def _assert_moved(trainer: Trainer, start: dict[str, torch.Tensor]) -> None:
    critic = getattr(trainer.config, "loss", None) == "wasserstein"
    for prefix, module in trainer._modules().items():
        for key, parameter in module.named_parameters():
            assert parameter.dtype == torch.float32
            if critic and (prefix, key) == ("discriminator", "dense.bias"):
                continue  # a critic's loss does not see what is added to all its outputs
            assert not torch.equal(parameter, start[f"{prefix}.{key}"]), f"{prefix}.{key} did not move"


@pytest.mark.parametrize("name", recipe_names())
def test_first_step_is_that_of_stock_modules(name: str) -> None:
    """The losses and all gradients, to 1e-9 in float64."""
    trainer = tiny.trainer(name)
    recipe, config, data = find_recipe(name), trainer.config, open_data("digits", image_size=trainer.config.image_size)
    found = compare_with_stock(recipe, config, data, trainer.fabric, steps=1, pairs=1)
    assert found.differences[torch.float64] <= 1e-9


@pytest.mark.parametrize("name", recipe_names())
def test_resumed_runs_continue_bit_for_bit(name: str, tmp_path: Path) -> None:
    trainer = tiny.trainer(name)
    for _ in range(2):
        trainer.update()
    trainer.save(tmp_path)
    for _ in range(2):
        trainer.update()
    expected = tiny.state(trainer)
    again = tiny.trainer(name)
    path = checkpoint.latest(tmp_path)
    assert path is not None
    again.load(path)
    for _ in range(2):
        again.update()
    found = tiny.state(again)
    assert found.keys() == expected.keys()
    assert [key for key in found if not torch.equal(found[key], expected[key])] == []


@pytest.mark.parametrize("name", recipe_names())
def test_every_weight_learns_in_mixed_precision_and_in_parts(name: str) -> None:
    """In bfloat16 with two parts a batch: finite losses, float32 weights, and each has moved."""
    trainer = tiny.trainer(name, precision="bf16-mixed", accumulate=2)
    start = tiny.state(trainer)
    for _ in range(3):
        losses = trainer.update()
    assert all(loss.isfinite() for loss in losses.values())
    _assert_moved(trainer, start)


@pytest.mark.parametrize("name", recipe_names())
def test_samples_are_images_and_repeat(name: str) -> None:
    trainer = tiny.trainer(name)
    trainer.update()
    images = trainer.sample(6, seed=3)
    size = trainer.config.image_size
    assert images.shape == (6, 1, size, size) and images.isfinite().all() and images.abs().max() <= 1
    assert torch.equal(images, trainer.sample(6, seed=3)) and not torch.equal(images, trainer.sample(6, seed=4))


@pytest.mark.parametrize("name", recipe_names())
def test_every_weight_learns_in_float16(name: str) -> None:
    """With scaled losses, under torch.autocast("cpu", torch.float16), which the command line leaves to GPUs."""
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**6)
    plugin = MixedPrecision("16-mixed", "cpu", scaler)
    trainer = tiny.trainer(name, Fabric(accelerator="cpu", devices=1, plugins=[plugin]), precision="16-mixed")
    start = tiny.state(trainer)
    seen: set[torch.dtype] = set()
    for module in trainer.generator.module.modules():
        module.register_forward_hook(lambda *a: seen.update(t.dtype for t in _tensors(a[2])))
    for _ in range(3):
        losses = trainer.update()
    assert torch.float16 in seen and all(loss.isfinite() for loss in losses.values())
    assert scaler.get_scale() == 2.0**6  # no step was skipped
    _assert_moved(trainer, start)
