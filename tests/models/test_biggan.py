"""The BigGAN discriminator: the paper's table, its attention and initialisation, and stock and fast layers alike."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fastgan.models.biggan import BigGANDiscriminator, SelfAttention
from fastgan.models.layers import fast_layers, stock_layers

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


def test_stock_and_fast_are_alike() -> None:
    discriminators = []
    for layers in (stock_layers(), fast_layers()):
        torch.manual_seed(3)
        discriminators.append(BigGANDiscriminator(8, num_classes=5, layers=layers).double())
    stock, fast = (discriminator.state_dict() for discriminator in discriminators)
    assert list(stock) == list(fast)
    for name in stock:  # u and v have been iterated in float32
        tolerance = 1e-5 if name.endswith(("_u", "_v")) else 0.0
        torch.testing.assert_close(fast[name], stock[name], rtol=0, atol=tolerance)
    discriminators[1].load_state_dict(stock)
    results = []
    images, labels = torch.randn(2, 3, 64, 64, dtype=torch.float64), torch.tensor([1, 3])
    for discriminator in discriminators:
        nn.init.constant_(discriminator.blocks[1].gamma, 0.7)
        state = discriminator.state_dict(keep_vars=True)
        parameters = [tensor for tensor in state.values() if isinstance(tensor, nn.Parameter)]
        logits = discriminator(images, labels)
        results.append((logits, *torch.autograd.grad(logits.sum(), parameters)))
    for a, b in zip(*results, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-10)


def test_channels_must_divide() -> None:
    with pytest.raises(ValueError, match="SelfAttention: channels must be a multiple of 8, got 12"):
        BigGANDiscriminator(12)
