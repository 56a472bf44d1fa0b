"""R3GAN's recipe: the published settings and their schedule, the loss, and how the penalties are computed."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F

from fastgan.trainers.config import ConfigError, build_config
from fastgan.trainers.r3gan import R3GAN, R3GANConfig

from . import tiny


def test_paper_preset_is_the_published_one() -> None:
    """CIFAR-10 in the authors' train.py."""
    config = build_config(R3GANConfig, R3GAN.presets["paper"])
    assert (config.channels, config.blocks, config.latent_dim, config.conditional) == (768, 2, 64, True)
    assert (config.g_lr, config.d_lr, config.final_lr, config.beta1) == (2e-4, 2e-4, 5e-5, 0.0)
    assert (config.beta2, config.final_beta2, config.gamma, config.final_gamma) == (0.9, 0.99, 0.05, 0.005)
    assert config.batch_size * config.burn_in == pytest.approx(2e7, rel=0.01)
    # half of the average's weight lies within 5 million images
    assert config.ema_decay ** (5e6 / config.batch_size) == pytest.approx(0.5, abs=0.01)


def test_a_step_of_the_paper_preset() -> None:
    trainer = tiny.trainer("r3gan", **R3GANConfig().__dict__ | {"data": "digits", "batch_size": 2, "image_size": 32})
    losses = trainer.update()
    assert losses["loss/generator"].isfinite() and losses["loss/discriminator"].isfinite()


def test_schedule_is_a_cosine() -> None:
    trainer = tiny.trainer("r3gan", burn_in=4, ema_decay=0.999)
    for step, rest in ((0, 1.0), (1, (1 + math.cos(math.pi / 4)) / 2), (2, 0.5), (4, 0.0), (9, 0.0)):
        networks = trainer.g_optimizer.optimizer, trainer.d_optimizer.optimizer, trainer.discriminator.module
        trainer.recipe.prepare(step, *networks)
        for optimizer in networks[:2]:
            (group,) = optimizer.param_groups
            assert group["lr"] == pytest.approx(5e-5 + (1e-3 - 5e-5) * rest)
            assert group["betas"] == pytest.approx((0.0, 0.99 - 0.09 * rest))
        decay = 0.999 ** (1 / (1 - rest)) if step else 0.0
        assert trainer.recipe.ema_decay(step) == pytest.approx(decay, abs=1e-12)
        assert [p.gamma for p in networks[2].penalties] == pytest.approx([0.005 + 0.045 * rest] * 2)


@pytest.mark.parametrize("stock", [False, True])
def test_losses_are_the_papers(stock: bool) -> None:
    """Relativistic pairs, and γ/2 of the squared gradients at real and at generated images; equations 2 to 4."""
    trainer = tiny.trainer("r3gan", precision="64-true", stock=stock, gamma=0.7)
    with torch.no_grad():
        for block in (m for net in (trainer.generator, trainer.discriminator) for m in net.modules()):
            if hasattr(block, "conv3"):
                block.conv3.weight.normal_(std=0.3)  # as in the course of training
    generator, discriminator = trainer.generator.module, trainer.discriminator.module
    images, labels = trainer._batch()
    with trainer.fabric.autocast():
        torch.manual_seed(5)
        found = trainer.recipe.discriminator_loss(trainer.discriminator, generator, images, labels)
        torch.manual_seed(5)
        g_found = trainer.recipe.generator_loss(trainer.generator, discriminator, images, labels)
        torch.manual_seed(5)
        latent, fake_labels = torch.randn(4, 4), torch.randint(10, (4,))
    plain = discriminator.discriminator
    images = images.requires_grad_()
    fakes = generator(latent, fake_labels).detach().requires_grad_()
    real, fake = plain(images, labels), plain(fakes, fake_labels)
    gradients = torch.autograd.grad(real.sum() + fake.sum(), (images, fakes))
    penalty = sum(0.35 * g.square().flatten(1).sum(1).mean() for g in gradients)
    assert penalty > 1e-3
    torch.testing.assert_close(found, F.softplus(fake - real).mean() + penalty, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(g_found, F.softplus(real - fake).mean(), rtol=1e-9, atol=1e-9)


def test_penalties_take_four_passes() -> None:
    trainer = tiny.trainer("r3gan")
    trainer.update()
    explanations = trainer.discriminator.module.explain()
    assert {points: e.path for points, e in explanations.items()} == {"real": "four passes", "fake": "four passes"}


def test_channels_must_divide() -> None:
    match = r"channels must give widths that are multiples of 8, got 24 for \[24, 24, 24, 24, 12\]"
    with pytest.raises(ConfigError, match=match):
        build_config(R3GANConfig, {"channels": 24, "image_size": 64})
    with pytest.raises(ConfigError, match=r"full_width_size must be 4 or 8 or .* here, got 12"):
        build_config(R3GANConfig, {"full_width_size": 12})
