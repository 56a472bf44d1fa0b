"""The first GAN's recipe: the published settings, its two losses, and its evaluation."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from fastgan.data import ArrayData, open_data
from fastgan.trainers.config import ConfigError, build_config
from fastgan.trainers.gan import GAN, GANConfig
from fastgan.trainers.parzen import ParzenEvaluator

from . import tiny


def test_paper_preset_is_the_published_one() -> None:
    """The authors' mnist.yaml: noise of 100, SGD of rate 0.1 and momentum 0.5 to 0.7 in 250 epochs, batches of 100."""
    config = build_config(GANConfig, GAN.presets["paper"])
    assert (config.latent_dim, config.g_channels, config.d_channels, config.pieces) == (100, 1200, 240, 5)
    assert (config.optimizer, config.g_lr, config.d_lr, config.batch_size, config.n_dis) == ("sgd", 0.1, 0.1, 100, 1)
    recipe = GAN(config, 1, None)
    networks = nn.Linear(1, 1), nn.Linear(1, 1)
    g_optimizer, d_optimizer = recipe.optimizers(*networks)
    for step, lr, momentum in ((0, 0.1, 0.5), (62_500, 0.1 / 1.000004**62_500, 0.6), (10**7, 1e-6, 0.7)):
        recipe.prepare(step, g_optimizer, d_optimizer, networks[1])
        for group in (*g_optimizer.param_groups, *d_optimizer.param_groups):
            assert group["lr"] == pytest.approx(lr) and group["momentum"] == pytest.approx(momentum)


def test_a_step_of_the_paper_preset() -> None:
    trainer = tiny.trainer(
        "gan", **build_config(GANConfig).__dict__ | {"data": "digits", "held_out": 8, "batch_size": 4}
    )
    losses = trainer.update()
    assert losses["loss/discriminator"].item() == pytest.approx(2 * math.log(2), abs=0.2)
    assert losses["loss/generator"].item() == pytest.approx(math.log(2), abs=0.2)


def test_losses_by_name() -> None:
    """Minimax is minus the other one at logit zero, and saturates where the discriminator is sure."""
    losses = {}
    for name in ("minimax", "non_saturating"):
        trainer = tiny.trainer("gan", loss=name)
        losses[name] = trainer.update()["loss/generator"].item()
    assert losses["minimax"] == pytest.approx(-math.log(2), abs=0.1)
    assert losses["non_saturating"] == pytest.approx(math.log(2), abs=0.1)
    with pytest.raises(ConfigError, match="unknown loss 'maximin'; there are: non_saturating, minimax"):
        tiny.trainer("gan", loss="maximin")


def test_noise_is_uniform_with_variance_1() -> None:
    noise = GAN(build_config(GANConfig), 1, None).latent(1000)
    assert noise.abs().max() <= 3**0.5 and noise.var().item() == pytest.approx(1, abs=0.02)


class _Fixed(nn.Module):
    def __init__(self, images: torch.Tensor) -> None:
        super().__init__()
        self.images = images


class _Replay:
    num_classes = None

    def sample(self, generator: _Fixed, n: int, labels: None, random: torch.Generator) -> torch.Tensor:
        return generator.images[:n]


def test_parzen_log_likelihood_of_known_images() -> None:
    """One pixel, a window at two points: the likelihood is that of torch's mixture at the width that fits best."""
    pixels = torch.tensor([0, 255], dtype=torch.uint8).repeat(10).view(20, 1, 1, 1)
    evaluator = ParzenEvaluator(_Replay(), ArrayData("two", pixels, image_size=1), 2)  # type: ignore[arg-type]
    found = evaluator(_Fixed(torch.tensor([-1.0, 1.0]).view(2, 1, 1, 1)))
    assert evaluator.sigma == pytest.approx(0.1)
    normal = torch.distributions.Normal(0.0, 0.1)
    expected = ((normal.log_prob(torch.tensor(0.0)).exp() + normal.log_prob(torch.tensor(1.0)).exp()) / 2).log()
    assert found == pytest.approx(expected.item(), rel=1e-6) and evaluator.standard_error < 1e-12


def test_better_images_are_likelier() -> None:
    images, _ = open_data("digits").batch(torch.arange(600))
    evaluator = ParzenEvaluator(_Replay(), ArrayData("digits", images[300:]), 300)  # type: ignore[arg-type]
    real = evaluator(_Fixed(images[:300].float() / 127.5 - 1))
    noise = evaluator(_Fixed(torch.rand(300, 1, 32, 32) * 2 - 1))
    assert real > noise + 100
