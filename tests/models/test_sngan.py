"""The SNGAN pair: the paper's table, conditioning, and stock and fast layers built alike."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from fastgan.models.layers import fast_layers, stock_layers
from fastgan.models.sngan import SNGANDiscriminator, SNGANGenerator


def test_generator_is_the_one_of_the_paper() -> None:
    generator = SNGANGenerator()
    assert generator(torch.randn(2, 128)).shape == (2, 3, 32, 32)
    block = 2 * (256 * 256 * 9 + 256) + 256 * 256 + 256 + 2 * 2 * 256
    assert sum(p.numel() for p in generator.parameters()) == (128 * 4096 + 4096 + 3 * block + 2 * 256 + 256 * 3 * 9 + 3)


def test_discriminator_is_the_one_of_the_paper() -> None:
    discriminator = SNGANDiscriminator()
    assert discriminator(torch.randn(2, 3, 32, 32)).shape == (2,)
    c = 128
    conv = c * c * 9 + c
    first = 3 * c * 9 + c + conv + 3 * c + c
    assert sum(p.numel() for p in discriminator.parameters()) == (first + (2 * conv + c * c + c) + 2 * 2 * conv + c + 1)


def test_every_weight_of_the_discriminator_is_normalised() -> None:
    discriminator = SNGANDiscriminator(8, 1, num_classes=3)
    layers = [m for m in discriminator.modules() if isinstance(m, (nn.Conv2d, nn.Linear, nn.Embedding))]
    assert len(layers) == 8 + 2 + 2
    assert all(hasattr(layer, "parametrizations") for layer in layers)


def test_shortcut_equals_the_papers_order() -> None:
    """The 1×1 convolution after upsampling, and before pooling, as written in the paper, gives the same numbers."""
    generator = SNGANGenerator(8, 4).double().eval()
    block = generator.blocks[0]
    x = torch.randn(2, 4, 4, 4, dtype=torch.float64)
    upsampled = F.interpolate(x, scale_factor=2, mode="nearest")
    expected = block.shortcut(upsampled) + block.conv2(
        F.relu(block.norm2(block.conv1(F.interpolate(F.relu(block.norm1(x)), scale_factor=2, mode="nearest"))))
    )
    torch.testing.assert_close(block(x), expected, rtol=1e-12, atol=1e-12)

    block = SNGANDiscriminator(4).double().eval().blocks[1]
    x = torch.randn(2, 4, 8, 8, dtype=torch.float64)
    residual = F.avg_pool2d(block.conv2(F.relu(block.conv1(F.relu(x)))), 2)
    torch.testing.assert_close(block(x), residual + F.avg_pool2d(block.shortcut(x), 2), rtol=1e-12, atol=1e-12)


def test_projection_adds_the_label_embedding() -> None:
    discriminator = SNGANDiscriminator(8, 1, num_classes=3).double().eval()
    images = torch.randn(1, 1, 32, 32, dtype=torch.float64).expand(3, -1, -1, -1)
    features = discriminator.act(discriminator.blocks(images)).sum((2, 3))
    labels = torch.arange(3)
    expected = discriminator.dense(features).squeeze(1) + (discriminator.embedding.weight * features).sum(1)
    torch.testing.assert_close(discriminator(images, labels), expected)
    assert discriminator(images, labels).unique().numel() == 3


def test_conditional_generator_uses_its_labels() -> None:
    generator = SNGANGenerator(8, 4, 1, num_classes=2)
    with torch.no_grad():
        generator.blocks[0].norm1.weight.weight[1] = 2.0
    latent = torch.randn(1, 8).expand(2, -1)
    images = generator.eval()(latent, torch.tensor([0, 1]))
    assert not torch.equal(images[0], images[1])


@pytest.mark.parametrize("num_classes", [None, 5])
def test_stock_and_fast_are_built_alike(num_classes: int | None) -> None:
    for build in (
        lambda layers: SNGANGenerator(8, 4, 1, num_classes, layers),
        lambda layers: SNGANDiscriminator(4, 1, num_classes, layers),
    ):
        torch.manual_seed(3)
        stock = build(stock_layers()).state_dict()
        torch.manual_seed(3)
        fast = build(fast_layers()).state_dict()
        assert list(stock) == list(fast)
        for name in stock:  # the first estimates of the singular vectors are sums, in another order
            tolerance = 1e-5 if name.endswith(("._u", "._v")) else 0.0
            torch.testing.assert_close(fast[name], stock[name], rtol=0, atol=tolerance)


@pytest.mark.parametrize(("num_classes", "labels"), [(None, torch.tensor([0])), (3, None)])
def test_labels_must_fit(num_classes: int | None, labels: torch.Tensor | None) -> None:
    with pytest.raises(ValueError, match=r"SNGANGenerator: expected .*labels"):
        SNGANGenerator(8, 4, 1, num_classes)(torch.randn(1, 8), labels)
    with pytest.raises(ValueError, match=r"SNGANDiscriminator: expected .*labels"):
        SNGANDiscriminator(4, 1, num_classes)(torch.randn(1, 1, 32, 32), labels)
