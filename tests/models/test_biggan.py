"""BigGAN's, BigGAN-deep's and SAGAN's networks: the published sizes, what they compute, stock and fast layers alike."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fastgan.models.attention import SelfAttention
from fastgan.models.biggan import BigGANDiscriminator, BigGANGenerator
from fastgan.models.biggan_deep import BigGANDeepDiscriminator, BigGANDeepGenerator
from fastgan.models.layers import Layers, fast_layers, stock_layers
from fastgan.models.sagan import SAGANDiscriminator, SAGANGenerator

CHANNELS = (3, 96, 192, 384, 768, 1536, 1536)


def _small() -> BigGANDiscriminator:
    """A narrow one for 64×64, which leaves 2×2 positions at the end; attention has a gain."""
    discriminator = BigGANDiscriminator(8, num_classes=5).double()
    nn.init.constant_(discriminator.blocks[1].gamma, 0.7)
    return discriminator


def test_parameters_are_those_of_the_paper() -> None:
    with torch.device("meta"):
        discriminator = BigGANDiscriminator()
    expected = []
    for i, (n_in, n_out) in enumerate(itertools.pairwise(CHANNELS)):
        expected += [(n_out, n_in, 3, 3), (n_out, n_out, 3, 3)]
        expected += [(n_out, n_in, 1, 1)] * (i < 5)
        if i == 0:
            expected += [(12, 96, 1, 1), (12, 96, 1, 1), (48, 96, 1, 1), (96, 48, 1, 1)]
    expected += [(1, 1536), (1000, 1536)]
    parameters = dict(discriminator.named_parameters())
    assert [tuple(p.shape) for name, p in parameters.items() if name.endswith("original")] == expected
    assert len(expected) == 23
    biases = 3 * sum(CHANNELS[1:]) - 1536 + 1  # the last block has no shortcut
    weights = sum(torch.Size(shape).numel() for shape in expected)
    assert sum(p.numel() for p in parameters.values()) == weights + biases + 1 == 87_982_370


def _published(discriminator: BigGANDiscriminator, images: Tensor, labels: Tensor) -> Tensor:
    """The paper's order of operations, from the normalised weights."""
    x = images
    for i, block in enumerate(discriminator.blocks):
        if i == 1:
            queries = block.theta(x).flatten(2)
            keys = F.max_pool2d(block.phi(x), 2).flatten(2)
            values = F.max_pool2d(block.g(x), 2).flatten(2)
            weights = torch.softmax(torch.bmm(queries.mT, keys), dim=-1)
            x = x + block.gamma * block.o(torch.bmm(values, weights.mT).view(-1, values.shape[1], *x.shape[2:]))
            continue
        h = block.conv2(F.relu(block.conv1(x if i == 0 else F.relu(x))))
        if i < 6:
            h, x = F.avg_pool2d(h, 2), F.avg_pool2d(block.shortcut(x), 2)
        x = x + h
    features = F.relu(x).sum((2, 3))
    return discriminator.dense(features).squeeze(1) + (discriminator.embedding.weight[labels] * features).sum(1)


def test_function_is_the_one_of_the_paper() -> None:
    discriminator = _small().eval()
    images, labels = torch.randn(3, 3, 64, 64, dtype=torch.float64), torch.tensor([4, 0, 2])
    logits = discriminator(images, labels)
    assert logits.shape == (3,)
    torch.testing.assert_close(logits, _published(discriminator, images, labels), rtol=1e-12, atol=1e-12)
    assert not torch.allclose(logits, discriminator(images, torch.tensor([4, 1, 2])), rtol=1e-6)


def test_attention_starts_without_effect() -> None:
    attention = SelfAttention(8, stock_layers())
    x = torch.randn(1, 8, 4, 4)
    assert torch.equal(attention(x), x)


def test_weights_start_orthogonal_and_biases_at_zero() -> None:
    for name, parameter in BigGANDiscriminator(8, num_classes=5).named_parameters():
        if name.endswith("original"):
            matrix = parameter.flatten(1)
            short = matrix if matrix.shape[0] <= matrix.shape[1] else matrix.mT
            torch.testing.assert_close(short @ short.mT, torch.eye(short.shape[0]), rtol=0, atol=1e-5)
        else:
            assert not parameter.any()


def _without_norm() -> Layers:
    """Sizes alone: on the meta device, where spectral norm's first iterations are slow."""
    return dataclasses.replace(stock_layers(), spectral_norm=lambda module: module)


def _parameters(make: Callable[..., nn.Module], **options: Any) -> int:
    with torch.device("meta"):
        return sum(p.numel() for p in make(layers=_without_norm(), **options).parameters())


def test_parameters_are_as_many_as_published() -> None:
    """Appendix B: 70.4 and 88.0 million for BigGAN at 128×128, 50.4 and 34.6 for BigGAN-deep; BigGAN's generator to the
    last one of BigGAN-PyTorch's. Table 1: 81.5 million for SAGAN's two networks.
    """
    assert _parameters(BigGANGenerator) == 70_433_988
    assert _parameters(BigGANDeepGenerator) == 50_388_609
    assert _parameters(BigGANDeepDiscriminator) == 34_590_210
    sagan = _parameters(SAGANGenerator, num_classes=1000) + _parameters(SAGANDiscriminator, num_classes=1000)
    assert round(sagan / 1e6, 1) == 81.5


def _published_generator(generator: BigGANGenerator, z: Tensor, labels: Tensor) -> Tensor:
    """The paper's order of operations, from the normalised weights, in evaluation mode."""

    def normed(norm: nn.Module, x: Tensor, condition: Tensor) -> Tensor:
        y = F.batch_norm(x, norm.norm.running_mean, norm.norm.running_var)
        gain, bias = norm.gain(condition), norm.bias(condition)
        return F.relu(y * (1 + gain[..., None, None]) + bias[..., None, None])

    chunks = z.chunk(4, 1)
    x = generator.dense(chunks[0]).view(len(z), -1, 4, 4)
    blocks = iter(generator.blocks)
    for chunk in chunks[1:]:
        block, condition = next(blocks), torch.cat([generator.embedding.weight[labels], chunk], 1)
        h = F.interpolate(normed(block.norm1, x, condition), scale_factor=2)
        h = F.conv2d(h, block.conv1.weight, block.conv1.bias, padding=1)
        h = F.conv2d(normed(block.norm2, h, condition), block.conv2.weight, block.conv2.bias, padding=1)
        x = h + F.conv2d(F.interpolate(x, scale_factor=2), block.shortcut.weight, block.shortcut.bias)
        if x.shape[2] == 16:
            x = next(blocks)(x)
    norm = generator.norm
    x = F.relu(F.batch_norm(x, norm.running_mean, norm.running_var, norm.weight, norm.bias))
    return torch.tanh(generator.conv(x))


def test_generator_is_the_one_of_the_paper() -> None:
    torch.manual_seed(0)
    generator = BigGANGenerator(8, 2, 32, 3, 5, 6, 16).double()
    z, labels = torch.randn(3, 8, dtype=torch.float64), torch.tensor([4, 0, 2])
    for module in generator.modules():
        if isinstance(module, SelfAttention):
            nn.init.constant_(module.gamma, 0.7)
    generator(z, labels)  # moves the running statistics
    images = generator.eval()(z, labels)
    assert images.shape == (3, 3, 32, 32)
    torch.testing.assert_close(images, _published_generator(generator, z, labels), rtol=1e-12, atol=1e-12)
    assert all(
        torch.isclose(w @ w.mT, torch.eye(len(w), dtype=w.dtype), atol=1e-5).all()
        for w in [generator.embedding.weight, generator.blocks[0].norm1.gain.parametrizations.weight.original]
    )


Make = Callable[[Layers], nn.Module]
_LATENT, _LABELS = (2, 8), torch.tensor([1, 3])
NETWORKS: dict[str, tuple[Make, tuple[int, ...]]] = {
    "generator": (lambda layers: BigGANGenerator(8, 2, 32, 1, 5, 6, 16, layers), _LATENT),
    "discriminator": (lambda layers: BigGANDiscriminator(2, 32, 1, 5, 16, layers), (2, 1, 32, 32)),
    "discriminator-64": (lambda layers: BigGANDiscriminator(8, 64, 3, 5, 32, layers), (2, 3, 64, 64)),
    "deep-generator": (lambda layers: BigGANDeepGenerator(8, 4, 32, 1, 5, 6, 16, layers), _LATENT),
    "deep-discriminator": (lambda layers: BigGANDeepDiscriminator(2, 32, 1, 5, 16, layers), (2, 1, 32, 32)),
    "deep-discriminator-64": (lambda layers: BigGANDeepDiscriminator(8, 64, 1, 5, 32, layers), (2, 1, 64, 64)),
    "sagan-generator": (lambda layers: SAGANGenerator(8, 2, 32, 1, 5, 16, layers), _LATENT),
    "sagan-discriminator": (lambda layers: SAGANDiscriminator(2, 32, 1, 5, 16, layers), (2, 1, 32, 32)),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_stock_and_fast_are_alike(name: str) -> None:
    """The same initial numbers, outputs and gradients."""
    make, shape = NETWORKS[name]
    networks = []
    for layers in (stock_layers(), fast_layers()):
        torch.manual_seed(3)
        networks.append(make(layers).double())
    stock, fast = (network.state_dict() for network in networks)
    assert list(stock) == list(fast)
    for key in stock:  # u and v have been iterated in float32
        tolerance = 1e-5 if key.endswith(("_u", "_v")) else 0.0
        torch.testing.assert_close(fast[key], stock[key], rtol=0, atol=tolerance)
    networks[1].load_state_dict(stock)
    results = []
    x = torch.randn(shape, dtype=torch.float64)
    for network in networks:
        for module in network.modules():
            if isinstance(module, SelfAttention):
                nn.init.constant_(module.gamma, 0.7)
        state = network.state_dict(keep_vars=True)
        parameters = [tensor for tensor in state.values() if isinstance(tensor, nn.Parameter)]
        output = network(x, _LABELS)
        results.append((output, *torch.autograd.grad(output.square().sum(), parameters)))
    for a, b in zip(*results, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("deep", [False, True])
@pytest.mark.parametrize("size", [32, 64, 128, 256])
def test_sizes(size: int, deep: bool) -> None:
    """Shapes on the way, without computing; without labels too."""
    channels, attention = 8, size // 2
    slots = {32: 4, 64: 5, 128: 6, 256: 7}[size]
    with torch.device("meta"):
        sizes, layers = (channels, size, 3, None), _without_norm()
        generator = (BigGANDeepGenerator if deep else BigGANGenerator)(slots, *sizes, 6, attention, layers)
        discriminator = (BigGANDeepDiscriminator if deep else BigGANDiscriminator)(*sizes, attention, layers)
        maps: list[tuple[int, ...]] = []
        discriminator.blocks.register_forward_hook(lambda _, __, output: maps.append(tuple(output.shape[2:])))
        images = generator(torch.randn(2, slots))
        assert images.shape == (2, 3, size, size) and discriminator(images).shape == (2,)
    assert maps == [(8, 8) if size == 32 else (4, 4)]


def test_what_cannot_be_built_or_called() -> None:
    with pytest.raises(ValueError, match="SelfAttention: channels must be a multiple of 8, got 12"):
        BigGANDiscriminator(12)
    with pytest.raises(ValueError, match="BigGAN: image_size must be one of 32, 64, 128, 256, got 48"):
        BigGANGenerator(image_size=48)
    with pytest.raises(ValueError, match="BigGAN: attention must be None or one of 8, 16, got 32"):
        BigGANDeepGenerator(image_size=32, attention=32)
    with pytest.raises(ValueError, match="BigGANGenerator: latent_dim must be a multiple of 6, got 128"):
        BigGANGenerator(128)
    generator = SAGANGenerator(8, 2, 32, 1, 5, None)
    with pytest.raises(ValueError, match=r"SAGANGenerator: expected labels in \[0, 5\), got none"):
        generator(torch.randn(1, 8))
