"""The recipes of the Wasserstein GAN: the papers' settings, clipping, and what each penalises."""

from __future__ import annotations

import pytest
import torch

from fastgan import penalties
from fastgan.trainers.config import build_config
from fastgan.trainers.wgan import WGAN, WGANConfig
from fastgan.trainers.wgan_gp import WGANGP, WGANLP, WGANGPConfig

from . import tiny


def test_paper_presets_are_the_papers() -> None:
    """WGAN's algorithm 1; WGAN-GP's appendix F, the CIFAR-10 ResNet."""
    clipped = build_config(WGANConfig, WGAN.presets["paper"])
    assert (clipped.g_lr, clipped.d_lr, clipped.clip, clipped.batch_size, clipped.n_dis) == (5e-5, 5e-5, 0.01, 64, 5)
    config = build_config(WGANGPConfig, WGANGP.presets["paper"])
    assert (config.g_lr, config.d_lr, config.beta1, config.beta2) == (2e-4, 2e-4, 0.0, 0.9)
    assert (config.batch_size, config.n_dis, config.penalty_weight, config.steps) == (64, 5, 10.0, 100_000)
    assert (config.g_channels, config.d_channels, config.latent_dim) == (128, 128, 128)


def test_a_step_of_the_paper_presets() -> None:
    for name, config in (("wgan-gp", WGANGPConfig()), ("wgan", WGANConfig())):
        trainer = tiny.trainer(name, **config.__dict__ | {"data": "digits", "batch_size": 2, "n_dis": 1})
        assert all(loss.isfinite() for loss in trainer.update().values())


def test_weights_are_clipped_after_every_step_of_the_critic() -> None:
    trainer = tiny.trainer("wgan", clip=0.01, n_dis=2, d_lr=1e-3)
    assert max(p.abs().max() for p in trainer.discriminator.module.parameters()) > 0.01
    trainer.update()
    largest = [p.abs().max().item() for p in trainer.discriminator.module.parameters()]
    assert max(largest) == pytest.approx(0.01) and max(p.abs().max() for p in trainer.generator.parameters()) > 0.01


def test_learning_rates_fall_to_zero() -> None:
    trainer = tiny.trainer("wgan-gp", steps=4, g_lr=2e-4, d_lr=4e-4)
    for expected in (1, 0.75, 0.5, 0.25):
        trainer.update()
        for optimizer, lr in ((trainer.g_optimizer, 2e-4), (trainer.d_optimizer, 4e-4)):
            assert optimizer.param_groups[0]["lr"] == pytest.approx(lr * expected)


@pytest.mark.parametrize(("name", "kind"), [("wgan-gp", penalties.WGANGP), ("wgan-lp", penalties.WGANLP)])
@pytest.mark.parametrize("stock", [False, True])
def test_critic_loss_is_the_papers(name: str, kind: type[penalties.Penalty], stock: bool) -> None:
    """E D(fake) − E D(real) + λ E (‖∇D‖ − 1)² at interpolated points; one-sided for wgan-lp."""
    trainer = tiny.trainer(name, precision="64-true", stock=stock, penalty_weight=3.0)
    critic, generator = trainer.discriminator.module, trainer.generator.module
    assert [type(p) for p in critic.penalties] == [kind]
    images, _ = trainer._batch()
    with torch.no_grad():
        critic.dense.weight.mul_(40)  # norms on both sides of 1
    torch.manual_seed(5)
    with trainer.fabric.autocast():
        found = trainer.recipe.discriminator_loss(trainer.discriminator, generator, images, None)
    torch.manual_seed(5)
    with torch.no_grad():
        fakes = generator(torch.randn(len(images), 4, dtype=images.dtype))
    points = torch.lerp(fakes, images, torch.rand(len(images), 1, 1, 1, dtype=images.dtype)).requires_grad_()
    plain = critic.discriminator
    (gradient,) = torch.autograd.grad(plain(points).sum(), points)
    distance = gradient.flatten(1).norm(dim=1) - 1
    assert distance.abs().min() > 1e-3
    distance = distance.clamp(min=0) if name == "wgan-lp" else distance
    expected = plain(fakes).mean() - plain(images).mean() + 3 * distance.square().mean()
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)


def test_one_sided_is_another_class() -> None:
    assert issubclass(WGANLP, WGANGP) and WGANLP.name == "wgan-lp"
