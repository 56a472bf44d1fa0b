"""BigGAN's recipe: the published settings, orthogonal regularisation, truncated noise and standing statistics."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from fastgan.cli import app
from fastgan.trainers.biggan import BigGAN, BigGANConfig
from fastgan.trainers.config import ConfigError, build_config, write_yaml
from fastgan.trainers.loop import Trainer
from fastgan.trainers.orthogonal import orthogonal_regularization
from fastgan.trainers.run import load_run

from . import tiny


def test_paper_presets_are_the_published_ones() -> None:
    """Section 3 and table 1 (batches of 2048, width 96, shared embedding, split noise, β 1e-4); appendix C."""
    config = build_config(BigGANConfig, BigGAN.presets["paper"])
    assert (config.image_size, config.batch_size, config.g_channels, config.d_channels) == (128, 2048, 96, 96)
    assert (config.latent_dim, config.embedding_dim, config.attention) == (120, 128, 64)
    assert (config.g_lr, config.d_lr, config.beta1, config.beta2, config.n_dis) == (5e-5, 2e-4, 0.0, 0.999, 2)
    assert (config.loss, config.orthogonal, config.ema_decay, config.standing_batches) == ("hinge", 1e-4, 0.9999, 100)
    decay = BigGAN(config, 3, 1000).ema_decay
    assert (decay(19_999), decay(20_000), decay(10**6)) == (0.0, 0.9999, 0.9999)
    deep = build_config(BigGANConfig, BigGAN.presets["deep"])
    assert (deep.deep, deep.latent_dim, deep.g_channels, deep.d_channels) == (True, 128, 128, 128)


@pytest.mark.parametrize("preset", ["paper", "deep"])
def test_a_step_of_the_paper_presets(preset: str) -> None:
    """With the networks' whole depth, 128×128 and attention, batches of 2 in 2 parts.

    Narrowed from 96 and 128: at full width such a step takes 27 s of a core beside the initial weights, which are
    orthogonalised. The published parameter counts and shapes are tested with the model.
    """
    narrow = {"data": "digits", "batch_size": 2, "accumulate": 2, "g_channels": 8, "d_channels": 8, "n_dis": 1}
    trainer = tiny.trainer("biggan", **build_config(BigGANConfig, BigGAN.presets[preset]).__dict__ | narrow)
    losses = trainer.update()
    assert losses["loss/generator"].isfinite() and losses["loss/discriminator"].isfinite()
    with torch.no_grad():
        images = trainer.generator.module(torch.randn(2, trainer.config.latent_dim), torch.tensor([1, 2]))
    assert images.shape == (2, 1, 128, 128)


@pytest.mark.parametrize("shape", [(5, 3), (3, 4, 2, 2)])
def test_orthogonal_regularisation_is_the_papers(shape: tuple[int, ...]) -> None:
    """Equation 3, and its gradient, 4 (W Wᵀ ⊙ (1 − I)) W, whichever side of the matrix is the longer one."""
    weight = torch.randn(shape, dtype=torch.float64, requires_grad=True)
    filters = weight.detach().flatten(1)
    inner = (filters @ filters.mT).fill_diagonal_(0)
    value = orthogonal_regularization([weight, 2 * weight])
    torch.testing.assert_close(value, (1 + 2**4) * inner.square().sum())
    (gradient,) = torch.autograd.grad(value, weight)
    torch.testing.assert_close(gradient, ((1 + 2**4) * 4 * inner @ filters).view(shape))


def test_generator_loss_regularises_all_weights_but_the_embedding() -> None:
    trainer = tiny.trainer("biggan", precision="64-true", orthogonal=0.3)
    images, labels = trainer._batch()
    found = []
    for weight in (0.3, 0.0):
        trainer.config.orthogonal = weight
        trainer.generator.eval()
        trainer.discriminator.eval()
        torch.manual_seed(5)
        with trainer.fabric.autocast():
            loss = trainer.recipe.generator_loss(trainer.generator, trainer.discriminator.module, images, labels)
        found.append(loss)
    weights = {k: p for k, p in trainer.generator.module.named_parameters() if p.dim() > 1}
    del weights["embedding.weight"]
    assert len(weights) == 1 + 3 * (2 + 1 + 4) + 4 + 1  # dense, blocks with their norms, attention, the last one
    torch.testing.assert_close(found[0] - found[1], 0.3 * orthogonal_regularization(weights.values()))


def _latents(trainer: Trainer) -> tuple[list[torch.Tensor], torch.Tensor]:
    """The noise of each of sampling's forwards, and the samples."""
    seen: list[torch.Tensor] = []
    hook = trainer.ema.module.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    samples = trainer.sample(50, seed=3)
    hook.remove()
    return seen, samples


def test_noise_of_samples_is_truncated() -> None:
    trainer = tiny.trainer("biggan", standing_batches=0, truncation=0.5)
    (latent,), _ = _latents(trainer)
    assert latent.shape == (50, 4) and 0.45 < latent.abs().max() <= 0.5
    trainer.config.truncation = 0.0
    (latent,), _ = _latents(trainer)
    assert latent.abs().max() > 1.5


@pytest.mark.parametrize("stock", [False, True])
def test_samples_use_the_mean_statistics_of_some_batches(stock: bool) -> None:
    trainer = tiny.trainer("biggan", precision="64-true", standing_batches=3, stock=stock)
    for _ in range(2):
        trainer.update()
    generator, recipe = trainer.ema.module, trainer.recipe
    before = {name: tensor.clone() for name, tensor in generator.state_dict().items()}
    state = torch.get_rng_state()
    samples = trainer.sample(8, seed=1)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(tensor, before[name]) for name, tensor in generator.state_dict().items())

    # The first norm's input does not depend on other norms': its statistics are those of the batches' own.
    means, variances = [], []
    with torch.no_grad():
        for latent, _ in recipe._standing_batches(generator):
            x = generator.dense(latent[:, : generator.chunk]).unflatten(1, (-1, 4, 4))
            means.append(x.mean((0, 2, 3)))
            variances.append(x.transpose(0, 1).flatten(1).var(1))
    standing = recipe._standing(generator, recipe._standing_batches)
    assert not standing.training and len(means) == 3
    norm = standing.blocks[0].norm1.norm
    torch.testing.assert_close(norm.running_mean, torch.stack(means).mean(0))
    torch.testing.assert_close(norm.running_var, torch.stack(variances).mean(0))
    assert recipe._standing(generator, recipe._standing_batches) is standing, "computed once for the same weights"

    trainer.config.standing_batches = 0
    assert not torch.allclose(trainer.sample(8, seed=1), samples), "training's running averages are others"
    trainer.config.standing_batches = 3
    trainer.update()
    assert recipe._standing(generator, recipe._standing_batches) is not standing, "the weights have changed"


def test_sampling_settings_can_be_given_to_a_finished_run(tmp_path: Path) -> None:
    trainer = tiny.trainer("biggan", steps=1, log_every=1)
    trainer.update()
    trainer.save(tmp_path / "checkpoints")
    write_yaml(tmp_path / "config.yaml", "biggan", trainer.config)
    recipe, _, _ = load_run(tmp_path, ["truncation=0.5", "standing_batches=0"])
    assert (recipe.config.truncation, recipe.config.standing_batches) == (0.5, 0)
    with pytest.raises(ConfigError, match=r"a trained run cannot change orthogonal: 0\.0001 -> 0\.1"):
        load_run(tmp_path, ["orthogonal=0.1"])
    files = [tmp_path / f"{name}.png" for name in "ab"]
    for file, more in zip(files, ([], ["--set", "truncation=0.1"]), strict=True):
        result = CliRunner().invoke(app, ["sample", str(tmp_path), "--n", "4", "--out", str(file), *more])
        assert result.exit_code == 0, result.output
    assert files[0].read_bytes() != files[1].read_bytes()


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"latent_dim": 100}, "latent_dim must be a multiple of 6 here, got 100"),
        ({"g_channels": 12}, "g_channels must be a multiple of 8 here, got 12"),
        ({"image_size": 32}, "attention must be 0 or 8 or 16 here, got 64"),
        ({"image_size": 48}, "image_size must be 32 or 64 or 128 or 256 here, got 48"),
        ({"truncation": -1.0}, "truncation must be at least 0, got -1.0"),
    ],
)
def test_settings_that_cannot_be(values: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        build_config(BigGANConfig, values)
