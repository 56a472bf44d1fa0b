"""The UNIT pair: the published sizes, what the domains share, and which code goes where."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import nn

from fastgan.models.layers import fast_layers, stock_layers
from fastgan.models.unit import UNITDiscriminator, UNITGenerator


def _parameters(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def test_layers_are_the_authors() -> None:
    """COCOResGen2 and COCODis of the code published in 2017, width 64, less the biases that instance norm subtracts."""
    with torch.device("meta"):
        generator, discriminator = UNITGenerator(64, 3), UNITDiscriminator(64, 6)
    residual = 2 * (256 * 256 * 9 + 256)
    encoder = (3 * 64 * 49 + 64) + (64 * 128 * 9 + 128) + (128 * 256 * 9 + 256) + 3 * residual
    decoder = 3 * residual + (256 * 128 * 9 + 128) + (128 * 64 * 9 + 64) + (64 * 3 + 3)
    published = 2 * (encoder + decoder + residual)
    without_effect = 14 * 2 * 256
    assert published == 18_017_286 and _parameters(generator) == published - without_effect
    widths = [3, 64, 128, 256, 512, 1024, 2048]
    judge = sum(9 * before * after + after for before, after in pairwise(widths)) + 2048 + 1
    assert _parameters(discriminator) == 2 * judge == 50_298_114


def test_one_block_of_encoders_and_of_decoders_is_shared() -> None:
    generator = UNITGenerator(4, 1)
    made = generator(torch.rand(1, 3, 8, 8), torch.rand(1, 3, 8, 8))
    made.aa.sum().backward()
    touched = {name.split(".")[0] for name, p in generator.named_parameters() if p.grad is not None}
    assert touched == {"encoders", "shared_encoder", "shared_decoder", "decoders"}
    untouched = [
        name for name, p in generator.named_parameters() if name.startswith("decoders.1.") and p.grad is not None
    ]
    assert untouched == []


def _apart(generator: UNITGenerator) -> UNITGenerator:
    """The domains' weights, which start the same, made different."""
    for module in (generator.encoders[1], generator.decoders[1]):
        for parameter in module.parameters():
            parameter.data.add_(torch.randn_like(parameter), alpha=0.1)
    return generator


def test_domains_start_with_the_same_weights() -> None:
    generator = UNITGenerator(4, 1).eval()
    a, b = torch.rand(2, 2, 3, 8, 8)
    made = generator(a, b)
    torch.testing.assert_close((made.ab, made.ba), (made.aa, made.bb))
    assert not {p.data_ptr() for p in generator.decoders[0].parameters()} & {
        p.data_ptr() for p in generator.decoders[1].parameters()
    }


def test_translations_are_what_their_names_say() -> None:
    generator = _apart(UNITGenerator(4, 1)).eval()
    a, b = torch.rand(2, 3, 8, 8), torch.rand(2, 3, 8, 8)
    made = generator(a, b)
    assert not torch.allclose(made.ab, made.aa) and not torch.allclose(made.ba, made.bb)
    torch.testing.assert_close(generator.exchange(a, b), (made.ab, made.ba))
    torch.testing.assert_close(made.ab, generator.translate(a, 0))
    torch.testing.assert_close(made.ba, generator.translate(b, 1))
    torch.testing.assert_close(made.aba, generator.translate(made.ab, 1))
    torch.testing.assert_close(made.bab, generator.translate(made.ba, 0))
    code = generator.shared_encoder(generator.encoders[0](a))
    torch.testing.assert_close(made.aa, generator.decoders[0](generator.shared_decoder(code)))
    torch.testing.assert_close(made.means[:2], code)
    torch.testing.assert_close(made.cycle_means[:2], generator.shared_encoder(generator.encoders[0](made.ba)))
    code = generator.shared_encoder(generator.encoders[1](b))
    torch.testing.assert_close(made.bb, generator.decoders[1](generator.shared_decoder(code)))


def test_codes_have_noise_of_variance_1_in_training_only() -> None:
    """And come in the order of a batch in which the domains take turns."""
    generator = UNITGenerator(4, 1).eval()
    given: list[torch.Tensor] = []
    generator.shared_decoder.register_forward_pre_hook(lambda _, arguments: given.append(arguments[0]))
    a, b = torch.rand(2, 8, 3, 16, 16)
    assert all(map(torch.equal, generator.exchange(a, b), generator.exchange(a, b)))
    torch.manual_seed(2)
    generator.train().exchange(a, b)
    torch.manual_seed(2)
    drawn = torch.randn(16, 16, 4, 4)
    torch.testing.assert_close(given[2] - given[0], torch.cat([drawn[::2], drawn[1::2]]), rtol=1e-4, atol=1e-5)


def test_each_domain_has_its_own_discriminator() -> None:
    discriminator = UNITDiscriminator(4, 3)
    images = torch.rand(2, 3, 16, 16)
    first, second = discriminator(images, images)
    assert first.shape == second.shape == (2, 1, 2, 2) and not torch.allclose(first, second)


def test_stock_and_fast_are_built_alike() -> None:
    for build in (
        lambda layers: UNITGenerator(4, 1, 1, layers),
        lambda layers: UNITDiscriminator(4, 2, 1, layers),
    ):
        torch.manual_seed(3)
        stock = build(stock_layers()).state_dict()
        torch.manual_seed(3)
        fast = build(fast_layers()).state_dict()
        assert list(stock) == list(fast) and all(torch.equal(stock[name], fast[name]) for name in stock)
