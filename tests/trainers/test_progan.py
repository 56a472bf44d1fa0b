"""Progressive Growing's recipe: its schedule, the losses, resuming in mid-fade, what knows the resolution."""

from __future__ import annotations

import weakref
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn import functional as F
from typer.testing import CliRunner

from fastgan import features
from fastgan.cli import app
from fastgan.data import open_data
from fastgan.trainers import checkpoint, growth
from fastgan.trainers.config import ConfigError, build_config
from fastgan.trainers.evaluate import FrechetEvaluator
from fastgan.trainers.growth import GrowthEvaluator
from fastgan.trainers.loop import Trainer
from fastgan.trainers.progan import ProGAN, ProGANConfig
from fastgan.trainers.run import load_run

from . import tiny
from .runs import run_python

# 8×8 for 3 steps, then 16×16: a fade of 3 steps and 3 steps more.
GROWING: dict[str, Any] = {"image_size": 16, "first_size": 8, "phase_steps": 3}


def _moments(trainer: Trainer) -> dict[str, int]:
    """Number of updates that each optimiser remembers of each of its parameters."""
    return {
        f"{prefix}{index}": int(state["step"])
        for prefix, optimizer in trainer._optimizers().items()
        for index, state in optimizer.state_dict()["state"].items()
    }


def test_paper_preset_is_the_published_one() -> None:
    """Appendix A.1."""
    config = build_config(ProGANConfig, ProGAN.presets["paper"])
    assert (config.g_lr, config.d_lr, config.beta1, config.beta2) == (1e-3, 1e-3, 0.0, 0.99)
    assert (config.n_dis, config.penalty_weight, config.drift_weight, config.ema_decay) == (1, 10.0, 1e-3, 0.999)
    assert (config.latent_dim, config.channels, config.first_size, config.image_size) == (512, 512, 4, 1024)
    assert config.phase_steps * config.batch_size == 800_000
    recipe = ProGAN(config, 3, None)
    # Eight sizes are faded in and trained after the first one has been trained.
    assert recipe.growth_at(50_000) == 0 and recipe.growth_at(100_000) == 1 and recipe.growth_at(150_000) == 1
    assert recipe.growth_at(799_999) < 8 == recipe.growth_at(800_000) and config.steps == 17 * config.phase_steps


def test_a_step_of_the_paper_preset() -> None:
    """At the paper's widths, in the middle of the fade of 16×16, in batches of 2."""
    paper = ProGANConfig().__dict__ | {"data": "digits", "batch_size": 2, "image_size": 16}
    trainer = tiny.trainer("progan", **paper)
    trainer.step = 175_000
    losses = trainer.update()
    assert losses["loss/generator"].isfinite() and losses["loss/discriminator"].isfinite()
    assert trainer.recipe.growth.value == 1.5  # type: ignore[attr-defined]


def test_growth_follows_the_step() -> None:
    trainer = tiny.trainer("progan", **GROWING)
    sizes, remembered = [], []
    for _ in range(9):
        trainer.update()
        grown = trainer.recipe.growth  # type: ignore[attr-defined]
        sizes.append((4 << grown.level, round(grown.alpha, 3)))
        remembered.append(max(_moments(trainer).values()))
    assert sizes == [(8, 1)] * 4 + [(16, 0.333), (16, 0.667)] + [(16, 1)] * 3
    # Forgotten with the first images of the new size, and with the first that are wholly so.
    assert remembered == [1, 2, 3, 4, 1, 2, 1, 2, 3]


@pytest.mark.parametrize("stock", [False, True])
def test_a_fade_in_mixed_precision(stock: bool) -> None:
    trainer = tiny.trainer("progan", precision="bf16-mixed", stock=stock, **GROWING)
    trainer.step = 5
    losses = trainer.update()
    assert trainer.recipe.growth.alpha == pytest.approx(2 / 3)  # type: ignore[attr-defined]
    assert all(loss.isfinite() for loss in losses.values())


@pytest.mark.parametrize("saved_at", [2, 4, 5, 6])
def test_resuming_in_the_middle_of_a_fade(saved_at: int, tmp_path: Path) -> None:
    """Bit for bit, whether the fade has begun, is under way or ends; samples included."""
    trainer = tiny.trainer("progan", **GROWING)
    while trainer.step < saved_at:
        trainer.update()
    trainer.save(tmp_path)
    samples = trainer.sample(4, seed=1)
    while trainer.step < 8:
        trainer.update()
    expected = tiny.state(trainer)
    again = tiny.trainer("progan", **GROWING)
    path = checkpoint.latest(tmp_path)
    assert path is not None
    again.load(path)
    assert torch.equal(again.sample(4, seed=1), samples)
    while again.step < 8:
        again.update()
    found = tiny.state(again)
    assert found.keys() == expected.keys()
    assert [key for key in found if not torch.equal(found[key], expected[key])] == []


@pytest.mark.parametrize("stock", [False, True])
def test_losses_are_the_papers(stock: bool) -> None:
    """WGAN-GP on images as a fade shows them, and the drift; appendix A.1 and the authors' code."""
    trainer = tiny.trainer("progan", precision="64-true", stock=stock, drift_weight=0.3, **GROWING)
    trainer.recipe.growth.value = 1.25  # type: ignore[attr-defined]
    generator, discriminator = trainer.generator.module, trainer.discriminator.module
    images, labels = trainer._batch()
    with trainer.fabric.autocast():
        torch.manual_seed(5)
        found = trainer.recipe.discriminator_loss(trainer.discriminator, generator, images, labels)
        torch.manual_seed(5)
        g_found = trainer.recipe.generator_loss(trainer.generator, discriminator, images, labels)
        torch.manual_seed(5)
        latent, epsilon = torch.randn(4, 4), torch.rand(4, 1, 1, 1)
    plain = discriminator.discriminator
    coarse = F.interpolate(F.avg_pool2d(images, 2), scale_factor=2)
    shown, fakes = 0.75 * coarse + 0.25 * images, generator(latent).detach()
    points = (epsilon * shown + (1 - epsilon) * fakes).requires_grad_()
    (gradient,) = torch.autograd.grad(plain(points).sum(), points)
    real, fake = plain(shown), plain(fakes)
    penalty = 10 * (gradient.flatten(1).norm(dim=1) - 1).square().mean()
    expected = fake.mean() - real.mean() + penalty + 0.3 * real.square().mean()
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(g_found, -fake.mean(), rtol=1e-9, atol=1e-9)


def _run(out: Path, **values: Any) -> None:
    settings = tiny.settings("progan") | GROWING | {"sample_every": 0, "metric_every": 0, "held_out": 0} | values
    options = [part for name, value in settings.items() for part in ("--set", f"{name}={value}")]
    result = CliRunner().invoke(app, ["train", "progan", "--out", str(out), *options])
    assert result.exit_code == 0, result.output


def test_a_run_in_mid_growth_knows_its_resolution(tmp_path: Path) -> None:
    """For sampling and measuring; images are enlarged to the size that the run is to reach."""
    run = tmp_path / "run"
    _run(run, steps=2)
    recipe, generator, _ = load_run(run)
    assert generator(torch.randn(1, 4)).shape == (1, 1, 8, 8)
    images = recipe.sample(generator, 2, None, torch.Generator().manual_seed(0))
    assert images.shape == (2, 1, 16, 16) and torch.equal(images[..., ::2, ::2], images[..., 1::2, 1::2])
    _run(tmp_path / "longer", steps=6)
    recipe, generator, _ = load_run(tmp_path / "longer")
    assert generator(torch.randn(1, 4)).shape == (1, 1, 16, 16)
    assert recipe.growth.value == pytest.approx(5 / 3)  # type: ignore[attr-defined]
    arguments = ["--real", "digits", "--fake", str(tmp_path / "longer"), "--samples", "16", "--metrics", "prdc"]
    result = CliRunner().invoke(app, ["evaluate", *arguments, "--device", "cpu", "--json"])
    assert result.exit_code == 0 and '"size": [\n      16,\n      16\n    ]' in result.output, result.output


def test_two_processes_grow() -> None:
    """Data parallelism takes the parameters that a resolution leaves unused."""
    script = str(Path(__file__).with_name("growing_ddp_run.py"))
    result = run_python("-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2", script)
    assert "process 0 has grown to 2" in result.stdout and "process 1 has grown to 2" in result.stdout


def test_distances_are_measured_at_the_resolution_of_the_time() -> None:
    trainer = tiny.trainer("progan", **GROWING)
    data = open_data("digits", image_size=16)
    evaluator = trainer.recipe.evaluator(data, None, 40, torch.device("cpu"))
    assert isinstance(evaluator, GrowthEvaluator) and evaluator.title.endswith("at the resolution of the time")
    small = evaluator(trainer.ema.module)
    large = evaluator.when_grown(trainer.ema.module, 2)
    assert trainer.recipe.growth.value == 1 and small == evaluator(trainer.ema.module) != large  # type: ignore[attr-defined]
    # Real images of 8×8 are near themselves, and far from those of 16×16.
    images, _ = data.batch(torch.randperm(len(data), generator=torch.Generator().manual_seed(0))[:40])
    pooled = F.avg_pool2d(images / 127.5 - 1, 2)

    class Replay:
        growth, num_classes = trainer.recipe.growth, None  # type: ignore[attr-defined]

        def sample(self, generator: Any, n: int, labels: None, random: torch.Generator) -> torch.Tensor:
            return F.interpolate(pooled, 16)

    replay: Any = GrowthEvaluator(Replay(), data, 40, torch.device("cpu"))  # type: ignore[arg-type]
    assert replay(None) < 0.05 * replay.when_grown(None, 2)


def test_measuring_a_fade_keeps_one_network_and_the_last_features(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[weakref.ref[Any]] = []

    def make(*arguments: Any) -> FrechetEvaluator:
        evaluator = FrechetEvaluator(*arguments)
        made.append(weakref.ref(evaluator))
        return evaluator

    networks, get = [], features.get
    monkeypatch.setattr(features, "get", lambda name: networks.append(name) or get(name))
    monkeypatch.setattr(growth, "FrechetEvaluator", make)
    trainer = tiny.trainer("progan", **GROWING)
    evaluator = GrowthEvaluator(trainer.recipe, open_data("digits", image_size=16), 16, torch.device("cpu"))  # type: ignore[arg-type]
    for now in (1.25, 1.5, 1.5, 2):
        evaluator.when_grown(trainer.ema.module, now)
    assert networks == ["efficientnet-lite0"]
    assert [each() is not None for each in made] == [False, False, False, True]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"image_size": 48}, "image_size must be 4 or 8 or"),
        ({"image_size": 16, "first_size": 32}, "first_size must be a power of 2 from 4 to image_size 16, got 32"),
        ({"channel_base": 512}, "channel_base must be at least image_size 1024, got 512"),
        ({"batch_size": 6}, "batch_size / accumulate must be at least 2 and a multiple of 4 or less than that.* got 6"),
        ({"batch_size": 4, "accumulate": 4}, "batch_size / accumulate must be at least 2 .* got 1"),
        ({"drift_weight": -1.0}, "drift_weight must be at least 0, got -1.0"),
        ({"conditional": True}, "conditional=true is not for progan"),
    ],
)
def test_settings_that_cannot_be(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        build_config(ProGANConfig, values)
