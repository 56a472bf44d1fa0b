"""The critic of WGAN-GP: the paper's table."""

from __future__ import annotations

import torch

from fastgan.models.sngan import SNGANGenerator
from fastgan.models.wgan_gp import WGANGPCritic


def test_critic_is_the_one_of_the_paper() -> None:
    critic = WGANGPCritic()
    assert critic(torch.randn(2, 3, 32, 32)).shape == (2,)
    conv, shortcut = 128 * 128 * 9 + 128, 128 * 128 + 128
    first = 3 * 128 * 9 + 128 + conv + 3 * 128 + 128
    assert sum(p.numel() for p in critic.parameters()) == first + 2 * conv + shortcut + 2 * 2 * conv + 128 + 1


def test_generator_of_128_channels_is_the_one_of_the_paper() -> None:
    block = 2 * (128 * 128 * 9 + 128) + 128 * 128 + 128 + 2 * 2 * 128
    expected = 128 * 2048 + 2048 + 3 * block + 2 * 128 + 128 * 3 * 9 + 3
    assert sum(p.numel() for p in SNGANGenerator(128, 128).parameters()) == expected


def test_features_are_averaged() -> None:
    """Where they are the same everywhere, so is their mean, whatever the number of places."""
    critic = WGANGPCritic(4, 1).double()
    x = torch.randn(1, 4, 1, 1, dtype=torch.float64)
    critic.blocks = torch.nn.Identity()
    torch.testing.assert_close(critic(x.expand(1, 4, 8, 8)), critic(x))
