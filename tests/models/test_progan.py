"""The pair of Progressive Growing: table 2 of the paper, what growing means, fastgan's blocks against stock ones."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fastgan.models.layers import fast_layers, stock_layers
from fastgan.models.progan import Growth, ProGANDiscriminator, ProGANGenerator, equalized, progan_widths


def _parameters(*modules: nn.Module) -> int:
    return sum(p.numel() for module in modules for p in module.parameters())


def test_layers_are_those_of_table_2() -> None:
    """1024×1024: the table's parameters line by line, 23.1 million in each network with the layers of that size."""
    widths = progan_widths(512, 16_384, 1024)
    assert widths == [512, 512, 512, 512, 256, 128, 64, 32, 16]
    with torch.device("meta"):
        generator, discriminator = ProGANGenerator(512, widths), ProGANDiscriminator(widths)
    lines = [
        (_parameters(block.conv1), _parameters(block.conv2))
        for block in generator.blocks
    ]  # fmt: skip
    assert [tuple(round(n, -2) for n in line) for line in lines] == [
        (2_359_800, 2_359_800), (2_359_800, 2_359_800), (2_359_800, 2_359_800), (1_179_900, 590_100),
        (295_000, 147_600), (73_800, 36_900), (18_500, 9_200), (4_600, 2_300),
    ]  # fmt: skip
    assert _parameters(generator.dense, generator.act) == 512 * 512 * 16 + 512  # 4.2M
    assert _parameters(generator.conv) == 2_359_808 and _parameters(generator.to_rgb[-1]) == 51
    assert round((_parameters(generator) - _parameters(*generator.to_rgb[:-1])) / 1e6, 1) == 23.1
    pairs = [(_parameters(block.conv1), _parameters(block.conv2)) for block in discriminator.blocks]
    assert [tuple(round(n, -2) for n in pair) for pair in reversed(pairs)] == [
        (2_300, 4_600), (9_200, 18_500), (36_900, 73_900), (147_600, 295_200), (590_100, 1_180_200),
        (2_359_800, 2_359_800), (2_359_800, 2_359_800), (2_359_800, 2_359_800),
    ]  # fmt: skip
    assert _parameters(discriminator.from_rgb[-1]) == 64 and discriminator.conv.weight.shape == (512, 513, 3, 3)
    assert _parameters(discriminator.hidden) == 512 * 512 * 16 + 512 and _parameters(discriminator.dense) == 513
    assert round((_parameters(discriminator) - _parameters(*discriminator.from_rgb[:-1])) / 1e6, 1) == 23.1
    images = generator(torch.empty(2, 512, device="meta"))
    assert images.shape == (2, 3, 1024, 1024) and discriminator(images).shape == (2,)


def test_weights_are_scaled_at_run_time() -> None:
    conv = equalized(nn.Conv2d(64, 128, 3), gain=math.sqrt(2))
    original = conv.parametrizations.weight.original
    assert original.std().item() == pytest.approx(1, abs=0.02) and not conv.bias.any()
    torch.testing.assert_close(conv.weight, original * math.sqrt(2 / (64 * 9)))
    with torch.device("meta"):
        generator = ProGANGenerator(512, [512, 512])
    # A 4×4 convolution's fan-in is 16 times the latent's length.
    assert generator.dense.parametrizations.weight[0].factor == pytest.approx(math.sqrt(2 / (16 * 512)))
    assert generator.to_rgb[0][1].parametrizations.weight[0].factor == pytest.approx(math.sqrt(1 / 512))


def _pair(growth: Growth, layers: object = None) -> tuple[ProGANGenerator, ProGANDiscriminator]:
    torch.manual_seed(2)
    options = (1, growth, layers or stock_layers())
    return ProGANGenerator(6, [8, 8, 4], *options), ProGANDiscriminator([8, 8, 4], *options)


def _up(images: Tensor) -> Tensor:
    return F.interpolate(images, scale_factor=2)


def test_fading_mixes_what_the_two_resolutions_make() -> None:
    growth = Growth(0.0)
    generator, discriminator = _pair(growth)
    latent = torch.randn(4, 6)

    def at(value: float) -> tuple[Tensor, Tensor]:
        growth.value = value
        images = generator(latent)
        return images, discriminator(images)

    (small, small_logits), (large, large_logits) = at(0), at(1)
    assert small.shape == (4, 1, 4, 4) and large.shape == (4, 1, 8, 8)
    mixed, logits = at(0.25)
    torch.testing.assert_close(mixed, 0.75 * _up(small) + 0.25 * large)
    # Nothing jumps as a fade begins and ends.
    for value, images, expected in ((1e-9, _up(small), small_logits), (1 - 1e-9, large, large_logits)):
        near, near_logits = at(value)
        torch.testing.assert_close(near, images)
        torch.testing.assert_close(near_logits, expected)
    assert not torch.allclose(logits, small_logits) and not torch.allclose(logits, large_logits)
    growth.value = 0.25
    with pytest.raises(ValueError, match=r"ProGANDiscriminator: images must be \[N, C, 8, 8\], got \[4, 1, 4, 4\]"):
        discriminator(small)


def test_real_images_are_shown_as_generated_ones_are_made() -> None:
    images = torch.randn(2, 1, 16, 16)
    means = F.avg_pool2d(images, 4)
    torch.testing.assert_close(Growth(0).shown(images), means)
    assert torch.equal(Growth(2).shown(images), images)
    half = Growth(1.5).shown(images)
    torch.testing.assert_close(half, (images + _up(F.avg_pool2d(images, 2))) / 2)


def test_growth_is_state_and_copies_share_it() -> None:
    generator, discriminator = _pair(Growth(1.25))
    average, state = copy.deepcopy(generator), generator.state_dict()
    assert state["growth._extra_state"] == 1.25 == discriminator.state_dict()["growth._extra_state"]
    generator.growth.value = 0.5
    assert average.growth.value == 0.5 and not average.growth.level - 1
    other, _ = _pair(Growth(0.0))
    other.load_state_dict(state)
    assert other.growth.value == 1.25 and (other.growth.level, other.growth.alpha) == (2, 0.25)


@pytest.mark.parametrize("value", [0.0, 0.75, 1.0, 1.25, 2.0])
def test_fast_and_stock_agree(value: float) -> None:
    """Images, logits and all gradients, in float64; the same weights from the same seed."""
    found = []
    for layers in (stock_layers(), fast_layers()):
        torch.set_default_dtype(torch.float64)
        try:
            generator, discriminator = _pair(Growth(value), layers)
            images = generator(torch.randn(4, 6))
            logits = discriminator(images)
            (gradient,) = torch.autograd.grad(logits.sum(), images, create_graph=True)
            (logits.mean() + gradient.square().sum()).backward()
        finally:
            torch.set_default_dtype(torch.float32)
        tensors = {"images": images, "logits": logits}
        for prefix, module in (("g", generator), ("d", discriminator)):
            tensors |= {f"{prefix}.{name}": t for name, t in module.state_dict().items()}
            tensors |= {f"{prefix}.{k}.grad": p.grad for k, p in module.named_parameters() if p.grad is not None}
        found.append(tensors)
    stock, fast = found
    assert list(stock) == list(fast) and any(name.endswith(".grad") for name in stock)
    for name, expected in stock.items():
        torch.testing.assert_close(fast[name], expected, rtol=1e-9, atol=1e-9, msg=name)
    used = {name.split(".")[2] for name in stock if name.startswith("g.to_rgb") and name.endswith("grad")}
    assert used == {str(level) for level in {math.floor(value), math.ceil(value)}}
