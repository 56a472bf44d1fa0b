"""UNIT's recipe: the published settings, and the losses."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from fastgan.trainers.config import ConfigError, build_config
from fastgan.trainers.unit import UNIT, UNITConfig

from . import tiny


def test_paper_preset_is_the_published_one() -> None:
    """Section 4 of the paper, and the settings beside the authors' code of 2017."""
    config = build_config(UNITConfig, UNIT.presets["paper"])
    weights = (config.adversarial_weight, config.kl_weight, config.reconstruction_weight, config.cycle_kl_weight)
    assert (*weights, config.cycle_weight) == (10, 0.1, 100, 0.1, 100)
    assert (config.g_lr, config.d_lr, config.beta1, config.beta2, config.weight_decay) == (1e-4, 1e-4, 0.5, 0.999, 1e-4)
    assert (config.g_channels, config.d_channels, config.blocks, config.halvings) == (64, 64, 3, 6)
    assert (config.batch_size, config.n_dis, config.loss, config.decay_from) == (2, 1, "non_saturating", 1.0)


def test_a_step_of_the_paper_preset() -> None:
    """At 128×128, full depth and batch, but a quarter of the widths: a CPU's size."""
    values = UNITConfig().__dict__ | {"data": "digits", "held_out": 40, "g_channels": 16, "d_channels": 16}
    losses = tiny.trainer("unit", **values).update()
    assert losses["loss/generator"].isfinite() and losses["loss/discriminator"].isfinite()


@pytest.mark.parametrize("stock", [False, True])
def test_losses_are_the_papers(stock: bool) -> None:
    """Equations 4 to 8: |x| as the Laplacian's logarithm, and the codes' squares as the divergence."""
    values = {"kl_weight": 0.3, "cycle_kl_weight": 0.7, "cycle_weight": 20.0, "adversarial_weight": 2.0}
    trainer = tiny.trainer("unit", precision="64-true", stock=stock, flip=False, reconstruction_weight=5.0, **values)
    generator, judges = trainer.generator.module, trainer.discriminator.module.judges
    for parameter in (*generator.encoders[1].parameters(), *generator.decoders[1].parameters()):
        parameter.data.add_(torch.randn_like(parameter), alpha=0.1)  # as in the course of training
    images, labels = trainer._batch()
    assert labels is not None and labels.tolist() == [0, 1, 0, 1]
    a, b = images[::2], images[1::2]
    with trainer.fabric.autocast():
        torch.manual_seed(5)
        found = trainer.recipe.discriminator_loss(trainer.discriminator, generator, images, labels)
        torch.manual_seed(5)
        ab, ba = generator.exchange(a, b)
        expected = sum(
            F.softplus(-judge(real)).mean() + F.softplus(judge(fake)).mean()
            for judge, real, fake in zip(judges, (a, b), (ba, ab), strict=True)
        )
        torch.testing.assert_close(found, 2 * expected, rtol=1e-9, atol=1e-9)
        torch.manual_seed(6)
        g_found = trainer.recipe.generator_loss(trainer.generator, trainer.discriminator.module, images, labels)
        torch.manual_seed(6)
        made = generator(a, b)
        direct = (made.aa - a).abs().mean() + (made.bb - b).abs().mean()
        cycle = (made.aba - a).abs().mean() + (made.bab - b).abs().mean()
        fooled = F.softplus(-judges[0](made.ba)).mean() + F.softplus(-judges[1](made.ab)).mean()
        kl = made.means[:2].square().mean() + made.means[2:].square().mean()
        cycle_kl = made.cycle_means[:2].square().mean() + made.cycle_means[2:].square().mean()
        g_expected = 2 * fooled + 5 * direct + 20 * cycle + 0.3 * kl + 0.7 * cycle_kl
        torch.testing.assert_close(g_found, g_expected, rtol=1e-9, atol=1e-9)


def test_parts_of_a_batch_have_both_domains() -> None:
    trainer = tiny.trainer("unit", batch_size=8, accumulate=2)
    images, labels = trainer._batch()
    for part, domains in trainer._parts(images, labels):
        assert domains is not None and len(part) == 4 and domains.tolist() == [0, 1, 0, 1]
    with pytest.raises(ConfigError, match="batch_size must be a multiple of 2 accumulate=2, for two domains, got 6"):
        build_config(UNITConfig, {"batch_size": 6, "accumulate": 2})


def test_domains_must_differ() -> None:
    with pytest.raises(ConfigError, match="first and second must be different labels, got 1"):
        build_config(UNITConfig, {"first": 1})
