"""VAE/GAN's recipe: published settings, the three losses, whom each reaches, and the measure of sharpness."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from fastgan.data import ArrayData
from fastgan.trainers.config import ConfigError, build_config
from fastgan.trainers.sharpness import laplacian_variance, relative_sharpness
from fastgan.trainers.vaegan import VAEGAN, VAEGANConfig

from . import tiny


def test_a_step_of_the_paper_preset() -> None:
    """Section 4: RMSprop of rate 0.0003, batches of 64 (here 2, at full width and size)."""
    config = build_config(VAEGANConfig, VAEGAN.presets["paper"])
    assert (config.g_lr, config.d_lr, config.batch_size, config.image_size) == (3e-4, 3e-4, 64, 64)
    assert (config.loss, config.beta, config.gamma, config.latent_dim) == ("minimax", 1.0, 1e-5, 128)
    trainer = tiny.trainer("vaegan", **VAEGANConfig().__dict__ | {"data": "digits", "batch_size": 2, "held_out": 8})
    losses = trainer.update()
    assert losses["loss/generator"].isfinite() and losses["loss/discriminator"].isfinite()
    assert {type(o).__name__ for o in trainer._optimizers().values()} == {"RMSprop"}


@pytest.mark.parametrize("stock", [False, True])
def test_losses_and_their_gradients_are_algorithm_1s(stock: bool) -> None:
    """Encoder: β L_prior + L_llike; decoder: γ L_llike - L_GAN; discriminator: L_GAN, of means over real and fakes."""
    gamma = 1e-2
    trainer = tiny.trainer("vaegan", precision="64-true", stock=stock, gamma=gamma, beta=0.5, loss="minimax")
    generator, discriminator = trainer.generator.module, trainer.discriminator.module
    generator.eval()  # so that the decoder's two passes agree
    discriminator.eval()
    images, labels = trainer._batch()
    networks = [list(part.parameters()) for part in (generator.encoder, generator.decoder, discriminator)]
    with trainer.fabric.autocast():
        torch.manual_seed(5)
        g_loss = trainer.recipe.generator_loss(trainer.generator, discriminator, images, labels)
        found_g = torch.autograd.grad(g_loss, networks[0] + networks[1])
        torch.manual_seed(5)
        d_loss = trainer.recipe.discriminator_loss(trainer.discriminator, generator, images, labels)
        found_d = torch.autograd.grad(d_loss, networks[2])

    torch.manual_seed(5)
    own, prior = torch.randn(8, 4, dtype=torch.float64).chunk(2)
    mean, log_var = generator.encoder(images).chunk(2, 1)
    codes = mean + (log_var / 2).exp() * own
    tilde, made = (torch.tanh(generator.decoder(z)) for z in (codes, prior))
    l_prior = 0.5 * (mean.square() + log_var.exp() - log_var - 1).sum(1).mean()
    features = [discriminator.blocks(x) for x in (images, tilde)]
    l_llike = 0.5 * (features[0] - features[1]).square().flatten(1).sum(1).mean()

    def l_gan(*fakes: torch.Tensor) -> torch.Tensor:
        # log D(x) and the mean of log(1 - D) over both kinds of fakes
        return F.logsigmoid(discriminator(images)).mean() + F.logsigmoid(-discriminator(torch.cat(fakes))).mean()

    for_encoder = torch.autograd.grad(0.5 * l_prior + l_llike, networks[0], retain_graph=True)
    for_decoder = torch.autograd.grad(gamma * l_llike + l_gan(tilde, made), networks[1], retain_graph=True)
    torch.testing.assert_close(found_g, (*for_encoder, *for_decoder), rtol=1e-8, atol=1e-10)
    for_discriminator = torch.autograd.grad(-l_gan(tilde.detach(), made.detach()), networks[2])
    torch.testing.assert_close(found_d, for_discriminator, rtol=1e-8, atol=1e-10)


def test_what_cannot_be() -> None:
    with pytest.raises(ConfigError, match="loss=relativistic pairs real and generated images"):
        tiny.trainer("vaegan", loss="relativistic")
    for values, message in (
        ({"conditional": True}, "conditional=true is not for vaegan"),
        ({"image_size": 28}, "image_size must be a multiple of 8, got 28"),
        ({"channels": 5}, "channels must be even, got 5"),
        ({"gamma": 0.0}, "gamma must be positive"),
    ):
        with pytest.raises(ConfigError, match=message):
            VAEGANConfig(**values)  # type: ignore[arg-type]


def test_laplacian_variance_measures_detail() -> None:
    """Zero where brightness is linear, the noise's variance times 20 for white noise, less after blur."""
    ramp = torch.linspace(0, 255, 52)[:, None].expand(52, 52).round().to(torch.uint8)[None, None]
    assert laplacian_variance(ramp).item() < 1e-12
    noise = torch.randint(0, 256, (4, 2, 64, 64), dtype=torch.uint8)
    found = laplacian_variance(noise)
    assert found.shape == (4,)
    torch.testing.assert_close(found, torch.full((4,), 20 / 12), rtol=0.1, atol=0.0)  # 4² + 4 · 1², uniform in [0, 1]
    images = noise.float() / 127.5 - 1
    torch.testing.assert_close(laplacian_variance(images), found)  # what a file would hold
    assert (laplacian_variance(F.avg_pool2d(images, 3, 1)) < found / 10).all()


def test_relative_sharpness_of_real_images_is_one() -> None:
    trainer = tiny.trainer("vaegan")

    class Real:
        num_classes = None
        factor = 1.0

        def sample(self, generator: object, n: int, labels: None, random: torch.Generator) -> torch.Tensor:
            chosen = torch.randint(len(trainer.data), (n,), generator=random)
            return self.factor * (trainer.data.batch(chosen)[0] / 127.5 - 1)

    recipe = Real()
    ratio, error = relative_sharpness(recipe, trainer.ema.module, trainer.data, 500)  # type: ignore[arg-type]
    assert abs(ratio - 1) < 4 * error < 0.1
    recipe.factor = 0.5  # half the contrast
    ratio, _ = relative_sharpness(recipe, trainer.ema.module, trainer.data, 500)  # type: ignore[arg-type]
    assert ratio == pytest.approx(0.25, abs=0.03)
    flat = ArrayData("flat", torch.zeros(8, 1, 8, 8, dtype=torch.uint8), None)
    assert laplacian_variance(flat.batch(torch.arange(8))[0]).tolist() == [0.0] * 8
