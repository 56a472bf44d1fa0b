"""The StarGAN pair: the published sizes, how domains enter and leave."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import nn

from fastgan.models.layers import fast_layers, stock_layers
from fastgan.models.stargan import StarGANDiscriminator, StarGANGenerator


def _parameters(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def test_layers_are_the_published_ones() -> None:
    """Tables 4 and 5 of the paper at 128×128, with the 5 domains of CelebA: 8.43 and 44.76 million parameters."""
    with torch.device("meta"):
        generator, critic = StarGANGenerator(64, 6, 5), StarGANDiscriminator(64, 6, 5, 128)
    norms = 2 * (64 + 128 + 256 + 12 * 256 + 128 + 64)
    convolutions = [8 * 64 * 49, 64 * 128 * 16, 128 * 256 * 16, 12 * 256 * 256 * 9, 256 * 128 * 16, 128 * 64 * 16]
    assert _parameters(generator) == sum(convolutions) + 64 * 3 * 49 + norms == 8_430_528
    widths = [3, 64, 128, 256, 512, 1024, 2048]
    halvings = [16 * before * after + after for before, after in pairwise(widths)]
    assert _parameters(critic) == sum(halvings) + 2048 * 9 + 2048 * 5 * 2 * 2 == 44_762_048
    kinds = [(type(m).__name__, m.kernel_size[0], m.stride[0]) for m in generator.modules() if hasattr(m, "stride")]
    resampled = [("Conv2d", 4, 2)] * 2 + [("Conv2d", 3, 1)] * 12 + [("ConvTranspose2d", 4, 2)] * 2
    assert kinds == [("Conv2d", 7, 1), *resampled, ("Conv2d", 7, 1)]
    source, domains = critic.to_empty(device="cpu")(torch.zeros(2, 3, 128, 128))
    assert source.shape == (2, 1, 2, 2) and domains.shape == (2, 5)


def test_the_domain_decides_the_translation() -> None:
    generator = StarGANGenerator(4, 1, 3)
    image = torch.rand(1, 3, 8, 8) * 2 - 1
    made = generator.translate(image.expand(3, -1, -1, -1), torch.arange(3))
    assert made.shape == (3, 3, 8, 8) and made.abs().max() <= 1
    assert not torch.allclose(made[0], made[1]) and not torch.allclose(made[1], made[2])
    torch.testing.assert_close(made[2:], generator.translate(image, torch.tensor([2])))


def test_a_call_goes_there_and_back() -> None:
    generator, images = StarGANGenerator(4, 1, 3), torch.rand(2, 3, 8, 8)
    there, back = generator(images, torch.tensor([2, 0]), torch.tensor([1, 1]))
    torch.testing.assert_close(there, generator.translate(images, torch.tensor([2, 0])))
    torch.testing.assert_close(back, generator.translate(there, torch.tensor([1, 1])))


def test_stock_and_fast_are_built_alike() -> None:
    for build in (
        lambda layers: StarGANGenerator(4, 1, 3, 1, layers),
        lambda layers: StarGANDiscriminator(4, 2, 3, 8, 1, layers),
    ):
        torch.manual_seed(3)
        stock = build(stock_layers()).state_dict()
        torch.manual_seed(3)
        fast = build(fast_layers()).state_dict()
        assert list(stock) == list(fast) and all(torch.equal(stock[name], fast[name]) for name in stock)
