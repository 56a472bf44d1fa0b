"""The StyleGAN2 pair: published sizes, stock against fast, path lengths, styles, noise, labels."""

from __future__ import annotations

import math
from collections.abc import Iterator

import pytest
import torch
from torch import nn

from fastgan.augment import ADA
from fastgan.models.layers import Layers, fast_layers, stock_layers
from fastgan.models.progan import progan_widths
from fastgan.models.style_layers import EqualizedConv2d, EqualizedLinear
from fastgan.models.stylegan2 import StyleGAN2Discriminator, StyleGAN2Generator

WIDTHS = [8, 8, 6, 4]  # of images of 32 x 32 pixels


def _parameters(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def _generator(layers: Layers | None = None, num_classes: int | None = None) -> StyleGAN2Generator:
    """Of every kind of number, the noise's strength included."""
    generator = StyleGAN2Generator(5, 7, WIDTHS, 2, 3, num_classes, 0.9, layers or fast_layers())
    with torch.no_grad():
        for name, parameter in generator.named_parameters():
            if name.endswith(("noise_strength", "bias")):
                parameter.add_(0.1 * torch.randn_like(parameter))
    return generator


@pytest.fixture
def _float64() -> Iterator[None]:
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def test_parameters_are_as_many_as_published() -> None:
    """Configuration F at 1024×1024, and layers of it, as the authors' PyTorch release lists them."""
    widths = progan_widths(512, 32768, 1024)
    assert widths == [512, 512, 512, 512, 512, 256, 128, 64, 32]
    with torch.device("meta"):
        generator, discriminator = StyleGAN2Generator(512, 512, widths), StyleGAN2Discriminator(widths)
    assert _parameters(generator) == 30_370_060 and _parameters(discriminator) == 29_012_513
    assert [_parameters(layer) for layer in generator.mapping.layers] == [262_656] * 8
    assert generator.synthesis.num_styles == 18 and generator.synthesis.start.shape == (512, 4, 4)
    convs, to_image = generator.synthesis.convs, generator.synthesis.to_image
    assert [_parameters(convs[i]) for i in (0, 1, 2, 9, 10, 11, 12, 13)] == [
        2_622_465, 2_622_465, 2_622_465, 1_442_561, 721_409, 426_369, 213_249, 139_457,
    ]  # fmt: skip
    assert [_parameters(to_image[i]) for i in (0, 5, 6)] == [264_195, 132_099, 66_051]
    first = discriminator.blocks[0]
    layers = (discriminator.from_image, first.shortcut, first.conv0, first.conv1)
    assert [_parameters(layer) for layer in layers] == [128, 2048, 9248, 18_496]
    assert _parameters(discriminator.blocks[3].conv1) == 1_180_160
    assert (_parameters(discriminator.dense), _parameters(discriminator.out)) == (4_194_816, 513)


def test_weights_are_scaled_at_run_time() -> None:
    """Unit variance as stored, and unit variance of the outputs; with the mapping's multiplier of the learning rate."""
    layers = fast_layers().style
    linear, mapping = EqualizedLinear(256, 512, layers), EqualizedLinear(256, 512, layers, "lrelu", 0.01)
    conv = EqualizedConv2d(64, 128, 3, layers, "linear")
    assert linear.weight.std().item() == pytest.approx(1, rel=0.02)
    assert mapping.weight.std().item() == pytest.approx(100, rel=0.02)
    assert conv.weight.std().item() == pytest.approx(1, rel=0.02)
    x = torch.randn(64, 256)
    assert linear(x).std().item() == pytest.approx(1, rel=0.05)
    assert mapping(x).square().mean().item() == pytest.approx(2 * (1 + 0.2**2) / 2, rel=0.05)
    assert conv(torch.randn(8, 64, 8, 8))[:, :, 1:-1, 1:-1].std().item() == pytest.approx(1, rel=0.05)
    nn.init.ones_(mapping.bias)
    torch.testing.assert_close(mapping(torch.zeros(1, 256)), torch.full((1, 512), 0.01 * math.sqrt(2)))


@pytest.mark.parametrize("options", [{}, {"num_classes": 3}, {"residual": False}], ids=str)
@pytest.mark.usefixtures("_float64")
def test_stock_and_fast_are_one_function(options: dict[str, int]) -> None:
    """Images, path-length penalty and logits, and the gradients of both networks: the penalty's are second ones."""
    results = []
    classes = options.get("num_classes")
    for layers in (stock_layers(), fast_layers()):
        torch.manual_seed(3)
        generator = _generator(layers, classes).to(memory_format=torch.channels_last)
        discriminator = StyleGAN2Discriminator(WIDTHS, 3, layers=layers, **options)
        torch.manual_seed(4)
        labels = () if classes is None else (torch.tensor([0, 1, 2, 1, 0, 2]),)
        path = (torch.randn(4, 5), *(each[2:] for each in labels))
        labels = tuple(each[:4] for each in labels)
        images, penalty = generator(torch.randn(4, 5), *labels, path=path)
        logits = discriminator(images, *labels)
        assert penalty > 1e-2 and images.shape == (4, 3, 32, 32) and logits.shape == (4,)
        parameters = [*generator.parameters(), *discriminator.parameters()]
        gradients = torch.autograd.grad(nn.functional.softplus(-logits).mean() + penalty, parameters)
        assert all(g.any() for g in gradients)
        state = [*generator.state_dict().items(), *discriminator.state_dict().items()]
        results.append(([name for name, _ in state], [images, penalty, logits, *gradients, *(t for _, t in state)]))
    (stock_names, stock), (names, fast) = results
    assert stock_names == names
    for found, expected in zip(fast, stock, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-11, atol=1e-11 * max(1.0, expected.abs().max().item()))


@pytest.mark.usefixtures("_float64")
def test_path_length_penalty_is_equation_4() -> None:
    """(‖Jᵀy‖ - a)², J the Jacobian of the images in all styles; and its gradient, by differences."""
    generator = StyleGAN2Generator(5, 7, [4, 4], 2, 1, layers=fast_layers()).eval()
    styles = torch.randn(2, 4, 7, requires_grad=True)

    def penalty() -> torch.Tensor:
        generator.path_length.fill_(0.7)
        torch.manual_seed(8)
        return generator._path_length_penalty(styles)

    found = penalty()
    torch.manual_seed(8)
    y = torch.randn(2, 1, 8, 8) / 8
    lengths = []
    for n in range(2):
        jacobian = torch.autograd.functional.jacobian(lambda w: generator.synthesis(w).flatten(), styles[n : n + 1])
        product = torch.einsum("inlw,i->lw", jacobian, y[n].flatten())
        lengths.append(product.square().sum(1).mean().sqrt())
    mean = 0.99 * 0.7 + 0.01 * torch.stack(lengths).mean()
    torch.testing.assert_close(found, (torch.stack(lengths) - mean).square().mean())
    torch.testing.assert_close(generator.path_length, mean)
    weight = generator.synthesis.convs[1].weight
    (gradient,) = torch.autograd.grad(found, weight)
    direction = torch.randn_like(weight)
    values = []
    for step in (1e-8, -2e-8):  # so short that no rectifier turns
        with torch.no_grad():
            weight += step * direction
        values.append(penalty().item())
    expected = (values[0] - values[1]) / 2e-8
    assert (gradient * direction).sum().item() == pytest.approx(expected, rel=1e-5)


def test_styles_are_mixed_in_training_only() -> None:
    generator = _generator()
    generator.style_mixing = 1.0
    latent = torch.randn(4, 5)
    firsts = set()
    for _ in range(100):
        styles = generator._styles(latent)
        same = [torch.equal(style, styles[:, 0]) for style in styles.unbind(1)]
        first = same.index(False)
        assert same == [True] * first + [False] * (len(same) - first)
        assert all(torch.equal(style, styles[:, -1]) for style in styles[:, first:].unbind(1))
        torch.testing.assert_close(styles[:, 0], generator.mapping(latent, None))
        firsts.add(first)
    assert firsts == set(range(1, 8))
    styles = generator.eval()._styles(latent, None)
    assert torch.equal(styles, styles[:, :1].expand_as(styles))


def test_truncation_is_towards_the_average_of_w() -> None:
    generator = _generator()
    latent = torch.randn(64, 5)
    generator(latent)
    torch.testing.assert_close(generator.average, 0.005 * generator.mapping(latent, None).mean(0))
    for _ in range(200):
        generator._styles(latent)
    expected = (1 - 0.995**201) * generator.mapping(latent, None).mean(0)
    torch.testing.assert_close(generator.average, expected)
    average = generator.average.clone()
    generator.eval()
    at_average = generator.synthesis(average.expand(1, 8, -1))
    torch.testing.assert_close(generator(latent[:2], truncation=0.0), at_average.expand(2, -1, -1, -1))
    half = generator(latent[:1], truncation=0.5)
    w = (generator.mapping(latent[:1], None) + average) / 2
    torch.testing.assert_close(half, generator.synthesis(w.expand(8, -1)[None]))
    assert torch.equal(generator.average, average)


def test_noise_is_fresh_in_training_and_fixed_in_evaluation() -> None:
    generator = _generator()
    generator.style_mixing = 0.0
    latent = torch.randn(1, 5).expand(2, -1)
    images = generator(latent)
    assert not torch.equal(images[0], images[1]) and not torch.equal(images, generator(latent))
    images = generator.eval()(latent)
    torch.testing.assert_close(images[0], images[1])
    assert torch.equal(images, generator(latent))


def test_labels_enter_both_networks() -> None:
    generator, discriminator = _generator(num_classes=3).eval(), StyleGAN2Discriminator(WIDTHS, 3, 3)
    images = generator(torch.randn(1, 5).expand(3, -1), torch.arange(3))
    assert all(not torch.equal(images[i], images[j]) for i, j in ((0, 1), (0, 2), (1, 2)))
    logits = discriminator(images[:1].expand(3, -1, -1, -1), torch.arange(3))
    assert logits.shape == (3,) and logits.unique().numel() == 3
    with pytest.raises(ValueError, match="MappingNetwork: labels must be given to a conditional network, got None"):
        generator(torch.randn(1, 5))


def test_augmentation_is_part_of_the_discriminator() -> None:
    torch.manual_seed(0)
    discriminator = StyleGAN2Discriminator(WIDTHS, 3, augment=ADA(p=1.0))
    assert {"augment.p", "augment.sign_sum"} <= discriminator.state_dict().keys()
    images = torch.rand(4, 3, 32, 32) * 2 - 1
    assert not torch.equal(discriminator(images), discriminator(images))
    assert torch.equal(discriminator.eval()(images), discriminator(images))
