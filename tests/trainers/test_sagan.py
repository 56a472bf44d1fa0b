"""SAGAN's recipe: the paper's settings, and a step of them."""

from __future__ import annotations

import torch

from fastgan.trainers.config import build_config
from fastgan.trainers.sagan import SAGAN, SAGANConfig

from . import tiny


def test_paper_preset_is_the_papers() -> None:
    """Section 4: 128×128, Adam of β 0 and 0.9, rates 0.0004 and 0.0001, one update each; attention at 32×32."""
    config = build_config(SAGANConfig, SAGAN.presets["paper"])
    assert (config.image_size, config.attention, config.conditional, config.loss) == (128, 32, True, "hinge")
    assert (config.d_lr, config.g_lr, config.beta1, config.beta2, config.n_dis) == (4e-4, 1e-4, 0.0, 0.9, 1)
    assert (config.batch_size, config.g_channels, config.d_channels) == (256, 64, 64)


def test_a_step_of_the_paper_preset() -> None:
    """The published networks at 128×128, on batches of 2 digits."""
    few = {"data": "digits", "batch_size": 2}
    trainer = tiny.trainer("sagan", **build_config(SAGANConfig, SAGAN.presets["paper"]).__dict__ | few)
    losses = trainer.update()
    assert losses["loss/generator"].isfinite() and losses["loss/discriminator"].isfinite()
    with torch.no_grad():
        images = trainer.ema.module(torch.randn(2, 128), torch.tensor([1, 2]))
    assert images.shape == (2, 1, 128, 128)
