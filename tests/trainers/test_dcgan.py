"""DCGAN's recipe: the paper's settings, and a step of them."""

from __future__ import annotations

import pytest
import torch

from fastgan.trainers.config import ConfigError, build_config
from fastgan.trainers.dcgan import DCGAN, DCGANConfig

from . import tiny


def test_paper_preset_is_the_papers() -> None:
    """Section 4: batches of 128, Adam of rate 0.0002 and momentum 0.5; figure 1: uniform noise of 100, 64×64 pixels."""
    config = build_config(DCGANConfig, DCGAN.presets["paper"])
    assert (config.batch_size, config.g_lr, config.d_lr, config.beta1) == (128, 2e-4, 2e-4, 0.5)
    assert (config.latent_dim, config.image_size, config.g_channels) == (100, 64, 128)
    noise = DCGAN(config, 3, None).latent(100)
    assert noise.min() < -0.9 and noise.max() > 0.9 and noise.abs().max() <= 1


def test_a_step_of_the_paper_preset() -> None:
    trainer = tiny.trainer("dcgan", **build_config(DCGANConfig).__dict__ | {"data": "digits", "batch_size": 2})
    losses = trainer.update()
    assert all(loss.isfinite() for loss in losses.values())
    assert trainer.generator.module(torch.rand(2, 100)).shape == (2, 1, 64, 64)


def test_labels_are_refused() -> None:
    with pytest.raises(ConfigError, match="conditional=true is not for"):
        build_config(DCGANConfig, {"conditional": True})
