"""StyleGAN2's recipe: the published settings, lazy regularisation, the losses, augmentation, the moving average."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from fastgan.trainers import checkpoint
from fastgan.trainers.config import ConfigError, build_config
from fastgan.trainers.stylegan2 import StyleGAN2, StyleGAN2Config

from . import tiny


def test_paper_preset_is_the_published_one() -> None:
    """Configuration F, FFHQ; and the settings for CIFAR-10, by names of the authors' train.py: cfg stylegan2, cifar."""
    config = build_config(StyleGAN2Config, StyleGAN2.presets["paper"])
    assert (config.image_size, config.channel_base, config.channel_max) == (1024, 32768, 512)
    assert (config.latent_dim, config.w_dim, config.mapping_layers, config.style_mixing) == (512, 512, 8, 0.9)
    assert (config.batch_size, config.g_lr, config.d_lr, config.beta1, config.beta2) == (32, 2e-3, 2e-3, 0.0, 0.99)
    assert (config.gamma, config.r1_every, config.path_weight, config.path_every) == (10.0, 16, 2.0, 4)
    assert (config.stddev_group, config.ema_images, config.ema_rampup) == (4, 10_000, 0.0)
    assert (config.loss, config.augment, config.flip, config.d_residual) == ("non_saturating", "none", True, True)
    assert config.steps * config.batch_size == 25_000_000
    cifar = build_config(StyleGAN2Config, StyleGAN2.presets["cifar10"])
    assert (cifar.image_size, cifar.channel_base, cifar.channel_max, cifar.mapping_layers) == (32, 32768, 512, 2)
    assert (cifar.batch_size, cifar.g_lr, cifar.d_lr, cifar.gamma, cifar.stddev_group) == (64, 2.5e-3, 2.5e-3, 0.01, 32)
    assert (cifar.ema_images, cifar.ema_rampup, cifar.augment, cifar.ada_target) == (500_000, 0.05, "ada", 0.6)
    assert (cifar.style_mixing, cifar.path_weight, cifar.d_residual) == (0.0, 0.0, False)
    assert cifar.steps * cifar.batch_size == 100_000_000


@pytest.mark.parametrize("preset", ["paper", "cifar10"])
def test_a_step_of_the_published_presets(preset: str) -> None:
    """At the published widths, on images of 16 pixels in place of 1024 or 32, and in batches of two."""
    config = build_config(StyleGAN2Config, StyleGAN2.presets[preset])
    trainer = tiny.trainer("stylegan2", **config.__dict__ | {"data": "digits", "batch_size": 2, "image_size": 16})
    assert trainer.generator.module.synthesis.convs[4].weight.shape == (512, 512, 3, 3)
    losses = trainer.update()
    assert losses["loss/generator"].isfinite() and losses["loss/discriminator"].isfinite()


def test_lazy_regularisation_corrects_adam() -> None:
    trainer = tiny.trainer("stylegan2", path_every=4, r1_every=16, g_lr=2e-3, d_lr=2e-3, beta1=0.5, beta2=0.99)
    for optimizer, ratio in ((trainer.g_optimizer, 4 / 5), (trainer.d_optimizer, 16 / 17)):
        (group,) = optimizer.param_groups
        assert group["lr"] == pytest.approx(2e-3 * ratio)
        assert group["betas"] == pytest.approx((0.5**ratio, 0.99**ratio))


def test_penalties_are_due_by_the_step_and_for_all_parts_of_a_batch() -> None:
    trainer = tiny.trainer("stylegan2", path_every=4, r1_every=3, accumulate=2, stddev_group=2)
    seen: list[tuple[int, bool, bool]] = []
    discriminator = trainer.discriminator.module
    trainer.generator.module.register_forward_hook(
        lambda module, inputs, options, output: seen.append(
            (trainer.step, isinstance(output, tuple), bool(discriminator.penalties))
        ) if torch.is_grad_enabled() else None,
        with_kwargs=True,
    )  # fmt: skip
    for _ in range(9):
        trainer.update()
    assert seen == [(step, step % 4 == 0, step % 3 == 0) for step in range(9) for _ in range(2)]


@pytest.mark.parametrize("stock", [False, True])
@pytest.mark.parametrize("augment", ["ada", "diffaugment", "none"])
def test_losses_are_the_papers(stock: bool, augment: str) -> None:
    """Logistic losses; R1 at the images before they are augmented, 16 times; the path-length penalty, 4 times."""
    trainer = tiny.trainer(
        "stylegan2", precision="64-true", stock=stock, augment=augment, gamma=0.7, r1_every=16, path_every=4,
        flip=False, conditional=True,
    )  # fmt: skip
    generator, discriminator = trainer.generator.module, trainer.discriminator.module
    plain = discriminator.discriminator
    if augment == "ada":
        plain.augment.p.fill_(0.7)
    images, labels = trainer._batch()
    with trainer.fabric.autocast():
        torch.manual_seed(5)
        found = trainer.recipe.discriminator_loss(trainer.discriminator, generator, images, labels)
        torch.manual_seed(5)
        latent, fake_labels = torch.randn(4, 4), torch.randint(10, (4,))
        with torch.no_grad():
            fakes = generator(latent, fake_labels)
        images = images.requires_grad_()
        real = plain(images, labels)
        fake = plain(fakes, fake_labels)
    (gradient,) = torch.autograd.grad(real.sum(), images, create_graph=True)
    penalty = 16 * 0.35 * gradient.square().flatten(1).sum(1).mean()
    expected = F.softplus(-real).mean() + F.softplus(fake).mean() + penalty
    assert penalty > 1e-3
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)
    parameters = list(discriminator.parameters())
    for a, b in zip(torch.autograd.grad(found, parameters), torch.autograd.grad(expected, parameters), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-8, atol=1e-8)

    mean = generator.path_length.clone()
    with trainer.fabric.autocast():
        torch.manual_seed(6)
        found = trainer.recipe.generator_loss(trainer.generator, discriminator, images, labels)
        generator.path_length.copy_(mean)
        torch.manual_seed(6)
        latent, fake_labels = torch.randn(4, 4), torch.randint(10, (4,))
        path = torch.randn(4, 4), torch.randint(10, (4,))
        fakes, penalty = generator(latent, fake_labels, path=path)
        expected = F.softplus(-plain(fakes, fake_labels)).mean() + 2 * 4 * penalty
    assert fakes.shape == (4, 1, 8, 8) and penalty > 1e-3
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)


def test_adas_probability_follows_the_logits_and_is_in_the_checkpoint(tmp_path: Path) -> None:
    trainer = tiny.trainer("stylegan2", augment="ada", ada_images=100, ada_target=-1.0, seed=1)
    augment = trainer.discriminator.module.discriminator.augment
    signs: list[float] = []
    original = augment.update
    augment.update = lambda logits: signs.append(logits.sign().mean().item()) or original(logits)
    for _ in range(4):
        trainer.update()
    assert len(signs) == 4 and sum(signs) > -4
    assert augment.p.item() == pytest.approx(16 / 100)  # one step for the 16 images seen
    trainer.save(tmp_path)
    again = tiny.trainer("stylegan2", augment="ada", ada_images=100, ada_target=-1.0, seed=1)
    path = checkpoint.latest(tmp_path)
    assert path is not None
    again.load(path)
    assert torch.equal(again.discriminator.module.discriminator.augment.p, augment.p)


def test_moving_average_goes_by_images() -> None:
    recipe = tiny.trainer("stylegan2", ema_images=1000, ema_rampup=0.0).recipe
    assert recipe.ema_decay(0) == recipe.ema_decay(999) == pytest.approx(0.5 ** (4 / 1000))
    recipe = tiny.trainer("stylegan2", ema_images=1000, ema_rampup=0.05).recipe
    assert recipe.ema_decay(0) == 0.0
    assert recipe.ema_decay(100) == pytest.approx(0.5 ** (4 / (0.05 * 400)))
    assert recipe.ema_decay(10**6) == pytest.approx(0.5 ** (4 / 1000))


def test_samples_are_truncated() -> None:
    trainer = tiny.trainer("stylegan2", truncation=0.0)
    for _ in range(2):
        trainer.update()
    images = trainer.sample(3, seed=0)
    torch.testing.assert_close(images, images[:1].expand_as(images))
    trainer.recipe.config.truncation = 1.0
    assert (trainer.sample(3, seed=0).std(0).mean() > 1e-4).item()


def test_real_images_are_mirrored_half_of_the_time() -> None:
    trainer = tiny.trainer("stylegan2", flip=True, batch_size=64, r1_every=10**6)
    trainer.recipe.prepare(1, trainer.g_optimizer, trainer.d_optimizer, trainer.discriminator.module)
    seen: list[torch.Tensor] = []
    trainer.discriminator.module.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    images, labels = trainer._batch()
    trainer.recipe.discriminator_loss(trainer.discriminator, trainer.generator.module, images, labels)
    mirrored = [torch.equal(a, b.flip(2)) and not torch.equal(a, b) for a, b in zip(seen[0], images, strict=True)]
    assert all(torch.equal(a, b) or m for a, b, m in zip(seen[0], images, mirrored, strict=True))
    assert sum(mirrored) == pytest.approx(32, abs=4 * math.sqrt(16))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"augment": "flip"}, "unknown augment 'flip'; there are: none, ada, diffaugment"),
        ({"ema_decay": 0.9}, "ema_decay is not for stylegan2, whose moving average goes by images: set ema_images"),
        ({"style_mixing": 1.5}, r"style_mixing must be in \[0, 1\], got 1.5"),
        ({"path_weight": -1.0}, "path_weight must be at least 0, got -1.0"),
        ({"channel_base": 64}, "channel_base at least image_size=1024, got 512 and 64"),
        ({"ema_start": 5}, "ema_start is not for stylegan2, whose moving average goes by images: set ema_rampup"),
        (
            {"stddev_group": 3},
            "batch_size / accumulate must be at least 2 and a multiple of 3 or less than that.* got 32",
        ),
        ({"accumulate": 32}, "batch_size / accumulate must be at least 2 .* got 1"),
        ({"ada_target": 2.0}, r"ada_target must be in \[-1, 1\] and ada_images at least 1, got 2.0 and 500000"),
        ({"image_size": 48}, "image_size must be 8 or 16"),
    ],
)
def test_settings_that_cannot_be(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        build_config(StyleGAN2Config, values)
