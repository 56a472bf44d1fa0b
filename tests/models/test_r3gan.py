"""The R3GAN pair: the published sizes, its initial function, its resampling."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from fastgan.models.layers import fast_layers, stock_layers
from fastgan.models.r3gan import R3GANBlock, R3GANDiscriminator, R3GANGenerator, r3gan_widths
from fastgan.models.resample import FIRResample, StockFIRResample


def _parameters(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def test_parameters_are_as_many_as_published() -> None:
    """Configuration E at 256×256: 23.058 million in the generator, 23.010 million in the discriminator."""
    widths = r3gan_widths(768, 256)
    assert widths == [768, 768, 768, 768, 384, 192, 96]
    assert r3gan_widths(64, 32, full_width_size=8) == [64, 64, 32, 16]
    with torch.device("meta"):
        generator, discriminator = R3GANGenerator(64, widths), R3GANDiscriminator(widths)
    assert round(_parameters(generator) / 1e6, 3) == 23.058 and round(_parameters(discriminator) / 1e6, 3) == 23.010


def test_blocks_have_groups_of_16_channels_and_begin_as_the_identity() -> None:
    block = R3GANBlock(768, 8, stock_layers())
    assert block.conv2.groups == 96 and block.conv2.weight.shape == (1536, 16, 3, 3)
    x = torch.randn(1, 768, 4, 4)
    torch.testing.assert_close(block(x), x)
    gain = (2 / 1.04) ** 0.5 * 8**-0.25
    assert block.conv1.weight.std().item() == pytest.approx(gain / 768**0.5, rel=0.01)
    assert block.conv2.weight.std().item() == pytest.approx(gain / 144**0.5, rel=0.01)


@pytest.mark.parametrize("up", [True, False])
def test_stock_resampling_is_that_of_fastgan(up: bool) -> None:
    x = torch.randn(2, 3, 6, 8)
    torch.testing.assert_close(StockFIRResample(up)(x), FIRResample(up)(x))
    constant = StockFIRResample(up)(torch.ones(1, 1, 8, 8))[:, :, 1:-1, 1:-1]
    torch.testing.assert_close(constant, torch.ones_like(constant))


def test_labels_enter_both_networks() -> None:
    widths = r3gan_widths(8, 8)
    generator, discriminator = R3GANGenerator(4, widths, 1, 1, 3), R3GANDiscriminator(widths, 1, 1, 3)
    images = generator(torch.randn(1, 4).expand(2, -1), torch.tensor([0, 1]))
    assert images.shape == (2, 1, 8, 8) and not torch.equal(images[0], images[1])
    logits = discriminator(images[:1].expand(3, -1, -1, -1), torch.arange(3))
    assert logits.shape == (3,) and logits.unique().numel() == 3


def test_stock_and_fast_are_built_alike() -> None:
    for build in (
        lambda layers: R3GANGenerator(4, [16, 8], 1, 1, 3, layers),
        lambda layers: R3GANDiscriminator([16, 8], 1, 1, 3, layers),
    ):
        torch.manual_seed(3)
        stock = build(stock_layers()).state_dict()
        torch.manual_seed(3)
        fast = build(fast_layers()).state_dict()
        assert list(stock) == list(fast) and all(torch.equal(stock[name], fast[name]) for name in stock)


@pytest.mark.parametrize("widths", [[], [12], [8, 4]])
def test_widths_must_be_multiples_of_8(widths: list[int]) -> None:
    with pytest.raises(ValueError, match="R3GANGenerator: widths must be multiples of 8, got"):
        R3GANGenerator(4, widths)
