"""The autoencoders: the papers' sizes, labels, and what a decoder's outputs mean."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn
from torch.distributions import kl_divergence

from fastgan.models.layers import fast_layers, stock_layers
from fastgan.models.likelihood import BernoulliLikelihood, GaussianLikelihood, diagonal_normal
from fastgan.models.vae import Autoencoder, MLPDecoder, MLPEncoder
from fastgan.models.vaegan import ConvDecoder, ConvEncoder, VAEGANAutoencoder, VAEGANDiscriminator


def _parameters(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def _shapes(module: nn.Module, *args: Tensor) -> list[tuple[int, ...]]:
    """What each convolution and linear layer gives for one sample."""
    shapes: list[tuple[int, ...]] = []
    for layer in module.modules():
        if isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)):
            layer.register_forward_hook(lambda layer, inputs, output: shapes.append(tuple(output.shape[1:])))
    module(*args)
    return shapes


def test_perceptrons_are_the_papers() -> None:
    """Kingma and Welling 2014, appendix C: a hidden layer of 500 each way, here with 20 numbers a code."""
    encoder, decoder = MLPEncoder(20), MLPDecoder(20)
    assert _shapes(encoder, torch.rand(2, 1, 28, 28)) == [(500,), (40,)]
    assert _shapes(decoder, torch.randn(2, 20)) == [(500,), (784,)]
    assert [type(layer) for layer in encoder.layers] == [nn.Linear, nn.Tanh, nn.Linear]
    assert _parameters(encoder) == 784 * 500 + 500 + 500 * 40 + 40
    assert _parameters(decoder) == 20 * 500 + 500 + 500 * 784 + 784
    assert MLPDecoder(20, outputs=2)(torch.randn(3, 20)).shape == (3, 2, 28, 28)


def test_convolutions_are_those_of_table_1() -> None:
    """Larsen et al. 2016 at 64×64, for codes of 128 numbers."""
    encoder, decoder, discriminator = ConvEncoder(), ConvDecoder(), VAEGANDiscriminator()
    images = torch.randn(2, 3, 64, 64)
    assert _shapes(encoder, images) == [(64, 32, 32), (128, 16, 16), (256, 8, 8), (2048,), (256,)]
    expected: list[tuple[int, ...]] = [(16384,), (256, 16, 16), (128, 32, 32), (32, 64, 64), (3, 64, 64)]
    assert _shapes(decoder, torch.randn(2, 128)) == expected
    expected = [(32, 64, 64), (128, 32, 32), (256, 16, 16), (256, 8, 8), (512,), (1,)]
    assert _shapes(discriminator, images) == expected
    for layer in (m for net in (encoder, decoder, discriminator) for m in net.modules()):
        assert not isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d)) or layer.kernel_size == (5, 5)

    convolutions = 25 * (3 * 64 + 64 * 128 + 128 * 256)
    norms = 2 * (64 + 128 + 256 + 2048)
    assert _parameters(encoder) == convolutions + 16384 * 2048 + norms + 2048 * 256 + 256
    convolutions = 25 * (256 * 256 + 256 * 128 + 128 * 32 + 32 * 3) + 3
    norms = 2 * (16384 + 256 + 128 + 32)
    assert _parameters(decoder) == 128 * 16384 + convolutions + norms
    convolutions = 25 * (3 * 32 + 32 * 128 + 128 * 256 + 256 * 256) + 32
    norms = 2 * (128 + 256 + 256 + 512)
    assert _parameters(discriminator) == convolutions + 16384 * 512 + norms + 512 + 1


def test_similarity_is_measured_on_the_last_convolution() -> None:
    """Before its batch norm, as in the authors' code (its ninth layer)."""
    discriminator = VAEGANDiscriminator(4, 8, 1, 32)
    images = torch.randn(3, 1, 32, 32)
    features = discriminator.features(images)
    assert features.shape == (3, 32, 4, 4)
    assert isinstance(discriminator.blocks[-1], nn.Conv2d)
    hidden = discriminator.dense(discriminator.norm(features).flatten(1))
    torch.testing.assert_close(discriminator(images), discriminator.logit(hidden).squeeze(1))


def _conditional(learned_prior: bool = True) -> Autoencoder:
    encoder, decoder = MLPEncoder(4, 8, 1, 8, 3), MLPDecoder(4, 8, 1, 8, 3)
    return Autoencoder(encoder, decoder, 4, BernoulliLikelihood().mean, 3, learned_prior)


def test_labels_enter_encoder_decoder_and_prior() -> None:
    autoencoder = _conditional()
    x, codes, labels = torch.rand(1, 1, 8, 8).expand(3, -1, -1, -1), torch.randn(1, 4).expand(3, -1), torch.arange(3)
    assert autoencoder.encode(x, labels).unique(dim=0).shape == (3, 8)
    assert autoencoder.decode(codes, labels).unique(dim=0).shape == (3, 1, 8, 8)
    assert not autoencoder.prior(codes, labels).any()  # begins as the standard normal one
    with torch.no_grad():
        autoencoder.prior_table.weight.normal_()
    moved = autoencoder.prior(codes, labels)
    codes_of_prior = moved[:, :4] + (moved[:, 4:] / 2).exp() * codes
    expected = 2 * autoencoder.decode(codes_of_prior, labels).sigmoid() - 1
    torch.testing.assert_close(autoencoder(codes, labels), expected)
    with pytest.raises(ValueError, match=r"labels must be int64 \[3\] of 3 classes, got None"):
        autoencoder(codes)


def test_forward_reparameterises() -> None:
    autoencoder = _conditional(learned_prior=False)
    x, noise, labels = torch.rand(3, 1, 8, 8), torch.randn(3, 4), torch.tensor([2, 0, 1])
    posterior, prior, outputs = autoencoder(noise, labels, x)
    mean, log_var = posterior[:, :4], posterior[:, 4:]
    assert not prior.any()
    torch.testing.assert_close(outputs, autoencoder.decode(mean + log_var.exp().sqrt() * noise, labels))


def test_a_prior_needs_labels() -> None:
    with pytest.raises(ValueError, match="learned_prior needs num_classes, got None"):
        Autoencoder(nn.Identity(), nn.Identity(), 4, torch.tanh, None, True)


def test_bernoulli_likelihood() -> None:
    """A distribution over the 2⁴ images of four pixels, whose mean is what ``mean`` says."""
    likelihood, logits = BernoulliLikelihood(), torch.randn(1, 1, 2, 2, dtype=torch.float64)
    images = torch.tensor([[(i >> k) & 1 for k in range(4)] for i in range(16)], dtype=torch.float64).view(16, 1, 2, 2)
    p = likelihood.log_prob(logits.expand(16, -1, -1, -1), images).exp()
    torch.testing.assert_close(p.sum(), torch.ones((), dtype=torch.float64))
    torch.testing.assert_close(2 * (p[:, None, None, None] * images).sum(0, keepdim=True) - 1, likelihood.mean(logits))
    grey = torch.full((20000, 1, 1, 1), -0.5)
    drawn = likelihood.draw(grey)
    assert set(drawn.unique().tolist()) == {0.0, 1.0} and drawn.mean().item() == pytest.approx(0.25, abs=0.02)


def test_gaussian_likelihood_is_a_density_in_levels() -> None:
    """In units of levels it integrates to 1; what is drawn are the levels and noise of their width."""
    likelihood = GaussianLikelihood()
    outputs = torch.tensor([0.2, -6.0], dtype=torch.float64).view(1, 2, 1, 1)
    x = torch.linspace(0, 1, 20001, dtype=torch.float64).view(-1, 1, 1, 1)
    density = likelihood.log_prob(outputs.expand(len(x), -1, -1, -1), x).exp() * 256
    assert torch.trapezoid(density, x.flatten()).item() == pytest.approx(1, abs=1e-4)
    mean = torch.trapezoid(density * x.flatten(), x.flatten()).item()
    assert (likelihood.mean(outputs).item() + 1) * 127.5 == pytest.approx(256 * mean - 0.5, abs=1e-2)
    # never narrower than a level's noise
    narrow = torch.tensor([0.0, -100.0], dtype=torch.float64).view(1, 2, 1, 1)
    peak = likelihood.log_prob(narrow, torch.full((1, 1, 1, 1), 0.5, dtype=torch.float64)).item()
    assert peak == pytest.approx(-0.5 * math.log(2 * math.pi / 12))
    levels = torch.arange(256, dtype=torch.float64).view(-1, 1, 1, 1)
    noise = likelihood.draw(levels / 127.5 - 1) * 256 - levels
    assert noise.min() >= 0 and noise.max() < 1 and noise.mean().item() == pytest.approx(0.5, abs=0.1)


def test_diagonal_normal_takes_means_then_logarithms_of_variances() -> None:
    normal = diagonal_normal(torch.tensor([[1.0, 2.0, 0.0, math.log(9.0)]]))
    torch.testing.assert_close(normal.loc, torch.tensor([[1.0, 2.0]]))
    torch.testing.assert_close(normal.scale, torch.tensor([[1.0, 3.0]]))


def test_stock_and_fast_are_built_alike() -> None:
    for build in (
        lambda layers: ConvEncoder(4, 4, 8, 1, 16, 3, layers),
        lambda layers: ConvDecoder(4, 4, 1, 16, 3, 2, layers),
        lambda layers: VAEGANDiscriminator(4, 8, 1, 16, layers),
    ):
        torch.manual_seed(3)
        stock = build(stock_layers()).state_dict()
        torch.manual_seed(3)
        fast = build(fast_layers()).state_dict()
        assert list(stock) == list(fast) and all(torch.equal(stock[name], fast[name]) for name in stock)


def test_vaegan_gives_encoder_and_decoder_gradients_of_their_own() -> None:
    """With one loss, γ·A(reconstructions) + B(fakes): dA for the encoder, γ dA + dB for the decoder."""
    torch.manual_seed(0)
    autoencoder = VAEGANAutoencoder(ConvEncoder(4, 4, 8, 1, 8), ConvDecoder(4, 4, 1, 8), 4).double()
    images, noise = torch.rand(4, 1, 8, 8, dtype=torch.float64), torch.randn(8, 4, dtype=torch.float64)
    gamma, target = 1e-3, torch.rand(4, 1, 8, 8, dtype=torch.float64)
    encoder, decoder = list(autoencoder.encoder.parameters()), list(autoencoder.decoder.parameters())
    autoencoder.eval()
    _, reconstructions, fakes = autoencoder(noise, images, gamma)
    loss = gamma * (reconstructions - target).square().sum() + fakes.pow(3).sum()
    found = torch.autograd.grad(loss, encoder + decoder)

    codes = autoencoder.sample(autoencoder.encode(images), noise[:4])
    plain = torch.tanh(autoencoder.decode(codes))
    both = torch.cat([plain, torch.tanh(autoencoder.decode(noise[4:]))])
    torch.testing.assert_close(fakes, both)
    torch.testing.assert_close(autoencoder.fakes(noise, images), both)
    for_encoder = torch.autograd.grad((plain - target).square().sum(), encoder, retain_graph=True)
    for_decoder = torch.autograd.grad(gamma * (plain - target).square().sum() + both.pow(3).sum(), decoder)
    torch.testing.assert_close(found, (*for_encoder, *for_decoder), rtol=1e-9, atol=1e-12)
    assert all(g.any() for g in for_encoder)


@pytest.mark.parametrize(
    ("build", "name"), [(ConvEncoder, "ConvEncoder"), (VAEGANDiscriminator, "VAEGANDiscriminator")]
)
def test_image_size_must_fit(build: type[nn.Module], name: str) -> None:
    with pytest.raises(ValueError, match=f"{name}: image_size must be a multiple of 8, got 28"):
        build(image_size=28)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_types_are_judged_in_float32(dtype: torch.dtype) -> None:
    """The divergence of codes near their prior is a small difference of numbers near 1; sigmoids end near 1."""
    parameters = (0.05 * torch.randn(8, 12)).to(dtype)
    prior = torch.zeros_like(parameters)
    found = kl_divergence(diagonal_normal(parameters), diagonal_normal(prior))
    mean, log_var = parameters.double().chunk(2, 1)
    expected = 0.5 * (mean.square() + torch.expm1(log_var) - log_var)
    torch.testing.assert_close(found.double().sum(1), expected.sum(1), rtol=1e-3, atol=0)
    x = torch.rand(8, 1, 4, 4)
    for likelihood in (BernoulliLikelihood(), GaussianLikelihood()):
        outputs = (4 * torch.randn(8, likelihood.outputs, 4, 4)).to(dtype)
        log_prob = likelihood.log_prob(outputs, x)
        assert log_prob.dtype == torch.float32
        torch.testing.assert_close(
            log_prob.double(), likelihood.log_prob(outputs.double(), x.double()), rtol=1e-5, atol=0
        )
