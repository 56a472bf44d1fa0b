"""The first GAN's networks: the published sizes, and what a maxout unit is."""

from __future__ import annotations

import torch

from fastgan.models.gan import Maxout, MLPDiscriminator, MLPGenerator


def test_generator_is_the_published_one() -> None:
    """784 pixels by way of 1200 and 1200 from noise of 100."""
    generator = MLPGenerator()
    assert [tuple(p.shape) for p in generator.parameters() if p.dim() == 2] == [(1200, 100), (1200, 1200), (784, 1200)]
    assert sum(p.numel() for p in generator.parameters()) == 121_200 + 1_441_200 + 941_584
    images = generator(torch.randn(3, 100))
    assert images.shape == (3, 1, 28, 28) and images.abs().max() <= 1


def test_discriminator_is_the_published_one() -> None:
    """Two layers of 240 maxout units of 5 pieces."""
    discriminator = MLPDiscriminator()
    shapes = [tuple(p.shape) for p in discriminator.parameters() if p.dim() == 2]
    assert shapes == [(1200, 784), (1200, 240), (1, 240)]
    assert sum(p.numel() for p in discriminator.parameters()) == 942_000 + 289_200 + 241
    assert discriminator(torch.rand(3, 1, 28, 28)).shape == (3,)


def test_maxout_takes_the_largest_of_its_pieces() -> None:
    layer = Maxout(4, 3, 2).double()
    x = torch.randn(5, 4, dtype=torch.float64)
    weight, bias = layer.linear.weight.view(3, 2, 4), layer.linear.bias.view(3, 2)
    expected = torch.maximum(x @ weight[:, 0].T + bias[:, 0], x @ weight[:, 1].T + bias[:, 1])
    torch.testing.assert_close(layer(x), expected)
