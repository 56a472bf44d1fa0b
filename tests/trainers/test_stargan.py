"""StarGAN's recipe: the published settings and their schedule, and the losses."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from fastgan.trainers.config import ConfigError, build_config
from fastgan.trainers.stargan import StarGAN, StarGANConfig

from . import tiny


def test_paper_preset_is_the_published_one() -> None:
    """Section 5.3 and the loss weights of section 3.3; widths, blocks and halvings of tables 4 and 5."""
    config = build_config(StarGANConfig, StarGAN.presets["paper"])
    assert (config.image_size, config.g_channels, config.d_channels, config.blocks, config.halvings) == (
        128,
        64,
        64,
        6,
        6,
    )
    assert (config.g_lr, config.d_lr, config.beta1, config.beta2, config.batch_size) == (1e-4, 1e-4, 0.5, 0.999, 16)
    assert (config.classification_weight, config.cycle_weight, config.penalty_weight) == (1, 10, 10)
    assert (config.n_dis, config.flip, config.loss, config.decay_from) == (5, True, "wasserstein", 0.5)
    assert config.identity_weight == 0
    # 20 epochs of CelebA's 202,599 faces, less 2,000 for testing
    assert config.steps * config.n_dis * config.batch_size == pytest.approx(20 * 200_599, rel=0.01)


def test_a_step_of_the_paper_preset() -> None:
    """At 128×128 and full depth, but a quarter of the widths and an eighth of the batch: a CPU's size."""
    values = StarGANConfig().__dict__ | {"data": "digits", "held_out": 8, "batch_size": 2}
    trainer = tiny.trainer("stargan", **values | {"g_channels": 16, "d_channels": 16, "n_dis": 1})
    losses = trainer.update()
    assert losses["loss/generator"].isfinite() and losses["loss/discriminator"].isfinite()


def test_rates_fall_in_the_second_half() -> None:
    trainer = tiny.trainer("stargan", steps=8, g_lr=1e-3, d_lr=2e-3)
    for step, part in ((0, 1.0), (4, 1.0), (5, 0.75), (7, 0.25), (8, 0.0)):
        trainer.recipe.prepare(step, trainer.g_optimizer, trainer.d_optimizer, trainer.discriminator.module)
        assert trainer.g_optimizer.param_groups[0]["lr"] == pytest.approx(1e-3 * part)
        assert trainer.d_optimizer.param_groups[0]["lr"] == pytest.approx(2e-3 * part)


@pytest.mark.parametrize("stock", [False, True])
def test_losses_are_the_papers(stock: bool) -> None:
    """Equations 1 to 6 and 8, with the classification of one domain of several as a softmax (RaFD's)."""
    trainer = tiny.trainer(
        "stargan", precision="64-true", stock=stock, flip=False, cycle_weight=7.0, penalty_weight=3.0
    )
    generator, discriminator = trainer.generator.module, trainer.discriminator.module
    images, labels = trainer._batch()
    assert labels is not None
    with trainer.fabric.autocast():
        torch.manual_seed(5)
        found = trainer.recipe.discriminator_loss(trainer.discriminator, generator, images, labels)
        torch.manual_seed(5)
        g_found = trainer.recipe.generator_loss(trainer.generator, discriminator, images, labels)
        torch.manual_seed(5)
        targets, epsilon = torch.randint(10, (4,)), torch.rand(4, 1, 1, 1)
        fakes, judge = generator.translate(images, targets), discriminator.discriminator
        points = (epsilon * images + (1 - epsilon) * fakes).detach().requires_grad_()
        (gradients,) = torch.autograd.grad(judge(points)[0].sum(), points)
        penalty = (gradients.flatten(1).norm(dim=1) - 1).square().mean()
        assert penalty > 1e-3
        (real, real_domains), (fake, fake_domains) = judge(images), judge(fakes)
        expected = fake.mean() - real.mean() + 3 * penalty + F.cross_entropy(real_domains, labels)
        torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-6)
        cycle = (generator.translate(fakes, labels) - images).abs().mean()
        g_expected = -fake.mean() + F.cross_entropy(fake_domains, targets) + 7 * cycle
        torch.testing.assert_close(g_found, g_expected, rtol=1e-9, atol=1e-9)


def test_images_of_the_target_domain_are_to_stay_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    trainer = tiny.trainer("stargan", flip=False, identity_weight=5.0)
    recipe, generator, judge = trainer.recipe, trainer.generator.module, trainer.discriminator.module
    images, labels = trainer._batch()
    assert labels is not None
    targets = torch.where(torch.arange(4) < 3, labels, (labels + 1) % 10)
    monkeypatch.setattr(recipe, "_targets", lambda _: targets)
    found = recipe.generator_loss(trainer.generator, judge, images, labels)
    recipe.config.identity_weight = 0.0
    without = recipe.generator_loss(trainer.generator, judge, images, labels)
    changes = (generator.translate(images, targets) - images)[:3].abs().mean()
    torch.testing.assert_close(found - without, 5 * 3 / 4 * changes)


def test_mirrored_images_are_mirrored_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    trainer = tiny.trainer("stargan")
    images, labels = trainer._batch()
    seen: list[torch.Tensor] = []
    trainer.generator.module.register_forward_pre_hook(lambda _, arguments: seen.append(arguments[0]))
    trainer.recipe.generator_loss(
        trainer.generator, trainer.discriminator.module, images.repeat(8, 1, 1, 1), labels.repeat(8)
    )
    same = (seen[0] == images.repeat(8, 1, 1, 1)).flatten(1).all(1)
    mirrored = (seen[0] == images.flip(3).repeat(8, 1, 1, 1)).flatten(1).all(1)
    assert (same | mirrored).all() and same.any() and mirrored.any()


def test_impossible_settings() -> None:
    with pytest.raises(
        ConfigError, match="image_size must be a multiple of 4 and of 2 to the power of halvings=6, got 32"
    ):
        build_config(StarGANConfig, {"image_size": 32})
    with pytest.raises(ConfigError, match="unknown loss 'relativistic' for translations; there are: "):
        build_config(StarGANConfig, {"loss": "relativistic"})
