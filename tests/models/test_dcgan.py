"""The DCGAN pair: the paper's figure."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from fastgan.models.dcgan import DCGANDiscriminator, DCGANGenerator
from fastgan.models.layers import fast_layers, stock_layers


def test_generator_is_that_of_figure_1() -> None:
    """100 numbers to 1024×4×4, then 512×8×8, 256×16×16, 128×32×32 and an image of 3×64×64."""
    generator = DCGANGenerator()
    shapes: list[tuple[int, ...]] = []
    for module in generator.modules():
        if isinstance(module, (nn.ConvTranspose2d, nn.Linear)):
            module.register_forward_hook(lambda module, args, output: shapes.append(tuple(output.shape[1:])))
    assert generator(torch.rand(2, 100)).shape == (2, 3, 64, 64)
    assert shapes == [(16384,), (512, 8, 8), (256, 16, 16), (128, 32, 32), (3, 64, 64)]
    convolutions = 25 * (1024 * 512 + 512 * 256 + 256 * 128 + 128 * 3) + 3
    norms = 2 * (1024 + 512 + 256 + 128)
    assert sum(p.numel() for p in generator.parameters()) == 100 * 16384 + convolutions + norms


def test_discriminator_mirrors_it() -> None:
    discriminator = DCGANDiscriminator()
    assert discriminator(torch.randn(2, 3, 64, 64)).shape == (2,)
    convolutions = 25 * (3 * 128 + 128 * 256 + 256 * 512 + 512 * 1024) + 128
    norms = 2 * (256 + 512 + 1024)
    assert sum(p.numel() for p in discriminator.parameters()) == convolutions + norms + 16384 + 1


def test_stock_and_fast_are_built_alike() -> None:
    for build in (
        lambda layers: DCGANGenerator(8, 4, 1, 16, layers),
        lambda layers: DCGANDiscriminator(4, 1, 16, layers),
    ):
        torch.manual_seed(3)
        stock = build(stock_layers()).state_dict()
        torch.manual_seed(3)
        fast = build(fast_layers()).state_dict()
        assert list(stock) == list(fast) and all(torch.equal(stock[name], fast[name]) for name in stock)


@pytest.mark.parametrize("image_size", [0, 4, 28])
def test_image_size_must_fit(image_size: int) -> None:
    with pytest.raises(ValueError, match="image_size must be 8, 16, 32 or another power of two, got"):
        DCGANGenerator(image_size=image_size)
