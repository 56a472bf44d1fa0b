"""A run whose losses are no numbers stops, naming the step, the layer and the last good checkpoint."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from fastgan.trainers import loop
from fastgan.trainers.loop import NonFiniteLossError, Trainer
from fastgan.trainers.recipe import Recipe, find_recipe
from fastgan.trainers.report import Reporter

from . import tiny


class _InfiniteGradient(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.clone()

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> Tensor:
        return grad_output * torch.inf


def _spoil_weight(step: int, discriminator: nn.Module, path: str) -> None:
    if step == 4:
        with torch.no_grad():
            discriminator.get_submodule(path).get_parameter("bias").fill_(torch.inf)


def _spoil_gradient(step: int, discriminator: nn.Module, path: str) -> None:
    """Of one step, whose losses are in order; the weights that it makes are not."""
    for handle in vars(discriminator).pop("spoiling", []):
        handle.remove()
    if step == 4:
        layer = discriminator.get_submodule(path)
        hook = layer.register_forward_hook(lambda *a: _InfiniteGradient.apply(a[2]))
        vars(discriminator)["spoiling"] = [hook]


def _run(monkeypatch: pytest.MonkeyPatch, name: str, path: str, spoil: Callable, out: Path, **values: Any) -> str:
    recipe: type[Recipe] = find_recipe(name)
    prepare = recipe.prepare

    def spoiled(self: Any, step: int, g: Any, d: Any, discriminator: nn.Module) -> None:
        prepare(self, step, g, d, discriminator)
        spoil(step, discriminator, path)

    monkeypatch.setattr(recipe, "prepare", spoiled)
    settings = {"steps": 9, "log_every": 9, "metric_every": 0, "sample_every": 0, "n_dis": 1} | values
    trainer: Trainer = tiny.trainer(name, **settings)
    with (
        pytest.raises(NonFiniteLossError) as error,
        Reporter(out, 0, 9, trainer.images_per_step, enabled=True) as reporter,
    ):
        trainer.run(out, reporter)
    return str(error.value)


@pytest.mark.parametrize(
    ("name", "path"), [("sngan", "blocks.1.conv2"), ("wgan-gp", "blocks.1.conv2"), ("gan", "layers.2.linear")]
)
def test_layer_and_checkpoint_are_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str, path: str) -> None:
    message = _run(monkeypatch, name, path, _spoil_weight, tmp_path, checkpoint_every=3)
    assert message.startswith("loss/discriminator is ") and " at step 5; the first that is not finite is " in message
    assert f"the output of discriminator.{path} (" in message and "in step 5" in message
    assert f"the last good checkpoint is {tmp_path}/checkpoints/step-00000003.safetensors" in message


def test_gradient_is_named_where_losses_show_it_later(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    message = _run(monkeypatch, "dcgan", "blocks.2", _spoil_gradient, tmp_path, checkpoint_every=9)
    assert message.startswith("loss/generator is nan at step 5; ")
    assert "the first that is not finite is the gradient at the output of discriminator.blocks.2, in step 5" in message
    assert "there is no checkpoint yet" in message


def test_weights_that_are_not_finite_are_not_saved(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The checkpoint and a picture are due after the very step whose gradient is infinite, its losses in order."""
    message = _run(
        monkeypatch, "dcgan", "blocks.2", _spoil_gradient, tmp_path, checkpoint_every=5, keep_checkpoints=1,
        schedule="simultaneous", steps=5, sample_every=5,
    )  # fmt: skip
    assert message.startswith("generator.") and "is not finite after step 5; the first that is not" in message
    assert "is the gradient at the output of discriminator.blocks.2, in step 5" in message
    assert not list(tmp_path.rglob("*.png")) and not list(tmp_path.rglob("*.safetensors"))


def test_moments_that_are_not_finite_are_named(tmp_path: Path) -> None:
    trainer = tiny.trainer("gan")
    trainer.update()
    moments = trainer.d_optimizer.optimizer.state
    next(iter(moments.values()))["exp_avg_sq"][0] = torch.inf
    with pytest.raises(NonFiniteLossError, match=r"^d_optimizer\.0\.exp_avg_sq is not finite after step 1$"):
        trainer.save(tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("most", [4, 5])
def test_losses_that_are_checked_of_themselves_are_explained(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, most: int
) -> None:
    """Where so many steps went by that the losses do not wait for ``log_every``: the repetition has as many."""
    monkeypatch.setattr(loop, "_MOST_UNCHECKED", most)
    message = _run(monkeypatch, "gan", "layers.2.linear", _spoil_weight, tmp_path, checkpoint_every=9)
    assert "the output of discriminator.layers.2.linear (" in message and "in step 5" in message
