"""The autoencoders' recipes: published settings, the bounds and their order, labels, and that they learn."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console
from torch import Tensor, nn

from fastgan.data import ArrayData
from fastgan.models.likelihood import BernoulliLikelihood, diagonal_normal
from fastgan.models.vae import Autoencoder
from fastgan.trainers.bounds import BoundEvaluator, evidence_terms, held_out_bound, importance_weighted_bound
from fastgan.trainers.config import ConfigError, build_config
from fastgan.trainers.cvae import CVAE, CVAEConfig
from fastgan.trainers.run import start
from fastgan.trainers.vae import VAE, VAEConfig

from . import tiny


@pytest.fixture(autouse=True)
def _one_thread() -> Any:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.mark.parametrize("name", ["vae", "cvae"])
def test_a_step_of_the_paper_preset(name: str) -> None:
    """Kingma and Welling 2014, section 5: batches of 100, Adagrad, a hidden layer of 500; at full size."""
    config = build_config(VAEConfig, VAE.presets["paper"])
    assert (config.batch_size, config.hidden, config.networks, config.image_size) == (100, 500, "mlp", 28)
    assert config.optimizer == "adagrad" and config.lr in (0.01, 0.02, 0.1)
    assert config.weight_decay * 60_000 == pytest.approx(1)  # MNIST's images, a standard normal prior of the weights
    paper = {"vae": VAEConfig, "cvae": CVAEConfig}[name]().__dict__
    trainer = tiny.trainer(name, **paper | {"data": "digits", "held_out": 8})
    assert trainer.update()["loss/generator"].isfinite()
    bound = held_out_bound(trainer.ema.module, trainer.recipe.likelihood, trainer.held_out)
    assert math.isfinite(bound.mean) and bound.standard_error > 0


class _Linear(nn.Module):
    """x = w·z in logits of two pixels; the encoder's posterior is a constant."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor([[2.0], [-1.0]], dtype=torch.float64))

    def forward(self, codes: Tensor) -> Tensor:
        return (codes @ self.weight.T).view(-1, 1, 1, 2)


class _Constant(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.code = nn.Parameter(torch.tensor([0.5, math.log(0.7)], dtype=torch.float64))

    def forward(self, images: Tensor) -> Tensor:
        return self.code.expand(len(images), 2)


def test_bounds_rise_to_the_log_likelihood() -> None:
    """One code, five, then 2000, which reach it; codes have one number, so that the likelihood is an integral."""
    autoencoder = Autoencoder(_Constant(), _Linear(), 1, torch.tanh)
    likelihood, x = BernoulliLikelihood(), torch.tensor([1.0, 0.0], dtype=torch.float64).view(1, 1, 1, 2)
    z = torch.linspace(-10, 10, 20001, dtype=torch.float64)[:, None]
    joint = likelihood.log_prob(autoencoder.decode(z), x.expand(len(z), -1, -1, -1)).exp()
    joint = joint * diagonal_normal(torch.zeros(1, 2, dtype=torch.float64)).log_prob(z).exp().squeeze(1)
    expected = torch.trapezoid(joint, z.squeeze(1)).log().item()

    torch.manual_seed(0)
    many = x.expand(20_000, -1, -1, -1)
    with torch.no_grad():
        reconstruction, divergence = evidence_terms(
            autoencoder, likelihood, many, None, torch.randn(20_000, 1, dtype=torch.float64)
        )
        bounds = {
            k: importance_weighted_bound(
                autoencoder, likelihood, many[: 20_000 // k], None, torch.randn(k, 20_000 // k, 1, dtype=torch.float64)
            ).mean().item()
            for k in (1, 5, 2000)
        }  # fmt: skip
    elbo = (reconstruction - divergence).mean().item()
    assert bounds[1] == pytest.approx(elbo, abs=0.03)  # one code: the same bound with its divergence estimated
    assert elbo + 0.05 < bounds[5] < expected
    assert bounds[2000] == pytest.approx(expected, abs=0.01)
    # KL(N(m, s²) ‖ N(0, 1)) in closed form
    assert divergence[0].item() == pytest.approx(0.5 * (0.7 + 0.25 - 1 - math.log(0.7)))


def test_loss_is_minus_the_bound_and_beta_weighs_the_divergence() -> None:
    images, labels = tiny.trainer("vae")._batch()
    losses = []
    for beta in (1.0, 4.0):
        trainer = tiny.trainer("vae", beta=beta)
        generator = trainer.generator.module.eval()
        torch.manual_seed(5)
        losses.append(trainer.recipe.generator_loss(generator, None, images, labels))
        torch.manual_seed(5)
        noise, x = torch.randn(4, 4), torch.bernoulli((images + 1) / 2)
        log_prob, divergence = evidence_terms(generator, trainer.recipe.likelihood, x, None, noise)
        torch.testing.assert_close(losses[-1], (beta * divergence - log_prob).mean())
    assert losses[1] > losses[0]


def test_evaluator_has_a_standard_error_and_repeats() -> None:
    trainer = tiny.trainer("vae", held_out=64)
    evaluator = trainer.recipe.evaluator(trainer.data, trainer.held_out, 50, torch.device("cpu"))
    state = torch.get_rng_state()
    value = evaluator(trainer.ema.module)
    assert evaluator.title == "nats an image (binarised), on 50 images not trained on"
    assert torch.equal(torch.get_rng_state(), state) and evaluator(trainer.ema.module) == value
    # by hand: the same images and noise, 250 at a time
    random = torch.Generator().manual_seed(1)
    x = torch.bernoulli(trainer.held_out.batch(torch.arange(50))[0] / 255, generator=random)
    noise = torch.randn(1, 50, 4, generator=random)[0]
    with torch.no_grad():
        log_prob, divergence = evidence_terms(trainer.ema.module, BernoulliLikelihood(), x, None, noise)
    bounds = (log_prob - divergence).double()
    assert value == pytest.approx(bounds.mean().item(), rel=1e-5)
    assert evaluator.standard_error == pytest.approx(bounds.std().item() / 50**0.5, rel=1e-4)


def test_the_pages_example_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    page = Path(__file__).parents[2] / "docs" / "recipes" / "vae.md"
    monkeypatch.chdir(tmp_path)
    start(VAE, tiny.config("vae", steps=1, sample_every=0), Path("runs/vae"), resume=False, console=Console(quiet=True))
    for example in re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL):
        exec(example, {})
    assert re.fullmatch(r"Bound\(mean=-[\d.]+, standard_error=[\d.]+\)\n", capsys.readouterr().out)


@pytest.mark.parametrize("likelihood", ["bernoulli", "gaussian"])
def test_it_learns(likelihood: str) -> None:
    """The bound of images not seen rises above the likelihood of pixels that know nothing of each other."""
    shape = {"networks": "mlp", "hidden": 64, "latent_dim": 8}
    trainer = tiny.trainer("vae", likelihood=likelihood, batch_size=64, held_out=200, lr=3e-3, ema_decay=0.9, **shape)
    before = held_out_bound(trainer.ema.module, trainer.recipe.likelihood, trainer.held_out)
    for _ in range(900):
        trainer.update()
    after = held_out_bound(trainer.ema.module, trainer.recipe.likelihood, trainer.held_out)
    tighter = held_out_bound(trainer.ema.module, trainer.recipe.likelihood, trainer.held_out, importance_samples=20)
    assert before.mean < after.mean < tighter.mean
    drawn = [
        trainer.recipe.likelihood.draw(data.batch(torch.arange(len(data)))[0] / 127.5 - 1)
        for data in (trainer.data, trainer.held_out)
    ]
    mean, deviation = drawn[0].mean(0).clamp(1e-3, 1 - 1e-3), drawn[0].std(0).clamp_min(1e-3)
    if likelihood == "bernoulli":
        independent = drawn[1] * mean.log() + (1 - drawn[1]) * (1 - mean).log()
    else:
        independent = torch.distributions.Normal(mean, deviation).log_prob(drawn[1]) - math.log(256)
    assert after.mean > independent.flatten(1).sum(1).mean() + 4 * after.standard_error


def test_cvae_samples_what_the_label_says() -> None:
    """After a short training, generated digits are nearest to the mean of the class asked for."""
    trainer = tiny.trainer("cvae", batch_size=64, likelihood="bernoulli", hidden=64, optimizer="adam", lr=3e-3)
    for _ in range(150):
        trainer.update()
    images, labels = trainer.data.batch(torch.arange(len(trainer.data)))
    assert labels is not None
    means = torch.stack([images[labels == k].float().mean(0) for k in range(10)]) / 127.5 - 1
    made = trainer.sample(200, seed=0)
    nearest = torch.cdist(made.flatten(1), means.flatten(1)).argmin(1)
    assert (nearest == torch.arange(200) % 10).float().mean() > 0.7
    assert trainer.generator.module.prior_table.weight.any()  # the prior is learned


def test_what_cannot_be() -> None:
    images = torch.zeros(8, 1, 8, 8, dtype=torch.uint8)
    data = ArrayData("plain", images, None)
    with pytest.raises(ConfigError, match="cvae needs labels, which digits has not; vae does without"):
        CVAE(CVAEConfig(data="digits"), data.image_channels, data.num_classes)
    with pytest.raises(ConfigError, match="unknown likelihood 'laplace'; there are: bernoulli, gaussian"):
        VAEConfig(likelihood="laplace")
    with pytest.raises(ConfigError, match="image_size must be a multiple of 8 for networks=conv, got 28"):
        VAEConfig(networks="conv")
    with pytest.raises(ConfigError, match="held_out must be at least 2 to measure the bound, got 0"):
        VAEConfig(held_out=0)
    with pytest.raises(ConfigError, match="n_dis must be 1 for vae, which has no discriminator"):
        tiny.trainer("vae", n_dis=2)
    assert BoundEvaluator(BernoulliLikelihood(), data, 100).title.endswith("on 8 images not trained on")
