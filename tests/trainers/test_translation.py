"""Translating recipes: what they have not seen, how it is drawn, shown and scored."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from typer.testing import CliRunner

from fastgan.cli import app
from fastgan.data import AlternatingDomains, ArrayData, open_data, open_emoji, open_pairs
from fastgan.data.emoji import STYLES
from fastgan.evaluation.sources import RunSource
from fastgan.trainers.config import ConfigError, build_config
from fastgan.trainers.loop import Trainer
from fastgan.trainers.recipe import find_recipe
from fastgan.trainers.translation import TranslationRecipe
from fastgan.trainers.translation_score import FeatureMapDistance, TranslationEvaluator, psnr, score_translations

from . import tiny
from .emoji_file import write_emoji

NAMES = ("stargan", "unit")


@pytest.fixture
def emoji(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FASTGAN_DATA", str(tmp_path))
    write_emoji(tmp_path)


def _emoji_trainer(name: str, **values: Any) -> Trainer:
    return tiny.trainer(name, **{"data": "emoji-styles", "held_out": 0} | values)


def _recipe(trainer: Trainer) -> TranslationRecipe:
    assert isinstance(trainer.recipe, TranslationRecipe)
    return trainer.recipe


@pytest.mark.parametrize("name", NAMES)
def test_sources_are_subjects_that_no_batch_shows_in_any_domain(name: str, emoji: None) -> None:
    trainer = _emoji_trainer(name)
    sources, held_out = _recipe(trainer).sources, open_emoji(STYLES, split="test", image_size=8)
    assert sources.subjects == len(held_out) >= 2
    domains = len(_recipe(trainer).labels)
    for domain in range(domains):
        expected = held_out.domain(STYLES[domain]).batch(torch.arange(len(held_out)))[0]
        assert torch.equal(sources.images[sources.domains == domain], expected)
    trained = trainer.data.batch(torch.arange(2 * len(trainer.data)) % len(trainer.data))[0].flatten(1)
    unseen = sources.images.flatten(1)
    assert not (trained[:, None] == unseen).all(2).any()


@pytest.mark.parametrize("name", NAMES)
def test_samples_translate_sources_of_other_domains(name: str, emoji: None, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = _recipe(trainer := _emoji_trainer(name))
    asked: list[tuple[Tensor, Tensor]] = []

    def translate(generator: Any, images: Tensor, domains: Tensor, targets: Tensor) -> Tensor:
        asked.append((domains, targets))
        return images

    monkeypatch.setattr(recipe, "translate", translate)
    labels = torch.arange(40) % len(recipe.labels)
    images = recipe.sample(trainer.ema.module, 40, labels, torch.Generator().manual_seed(0))
    ((domains, targets),) = asked
    assert torch.equal(targets, labels) and not (domains == targets).any()
    assert domains.unique().numel() == len(recipe.labels)
    shown = ((images + 1) * 127.5).round().to(torch.uint8).flatten(1)
    assert (shown[:, None] == recipe.sources.images.flatten(1)).all(2).any(1).all()


def test_the_picture_has_source_translation_and_truth(emoji: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """With three domains two sources a row, each with the two others' translation and truth."""
    recipe = _recipe(trainer := _emoji_trainer("stargan"))
    monkeypatch.setattr(recipe, "translate", lambda generator, images, domains, targets: -images)
    grid = trainer.picture(20, seed=0)
    assert grid.shape == (16, 80, 3) and grid.dtype == torch.uint8
    assert recipe.pictured(20) == "4 images and their 8 translations beside the true ones"
    cells = grid.view(2, 8, 10, 8, 3).permute(0, 2, 4, 1, 3).reshape(4, 5, 3, 8, 8)
    images, subjects = recipe.sources.images, recipe.sources.subjects
    assert subjects is not None
    for source, first, true_first, second, true_second in cells:
        place = int((images == source).flatten(1).all(1).nonzero()[0])
        domain, subject = place // subjects, place % subjects
        others = [other for other in range(3) if other != domain]
        assert torch.equal(first, 255 - source) and torch.equal(second, 255 - source)
        assert torch.equal(true_first, images[others[0] * subjects + subject])
        assert torch.equal(true_second, images[others[1] * subjects + subject])
    assert torch.equal(grid, trainer.picture(20, seed=0)) and not torch.equal(grid, trainer.picture(20, seed=1))


def test_the_picture_without_known_pairs_has_all_translations() -> None:
    """Of the digits, one source a row and the nine other classes; of two domains, five pairs a row."""
    for name, shown in (
        ("stargan", "6 images and their 54 translations"),
        ("unit", "30 images and their 30 translations"),
    ):
        trainer = tiny.trainer(name)
        assert trainer.picture(64, seed=0).shape == (6 * 8, 10 * 8, 1)
        assert trainer.recipe.pictured(64) == shown


@pytest.mark.parametrize("name", NAMES)
def test_scores_are_those_of_known_translations(name: str, emoji: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """A generator that changes nothing has the input's figures; one that knows the truth has the best there are."""
    recipe = _recipe(trainer := _emoji_trainer(name))
    evaluator = recipe.evaluator(trainer.data, None, 1000, torch.device("cpu"))
    assert isinstance(evaluator, TranslationEvaluator)
    domains, subjects = len(recipe.labels), recipe.sources.subjects
    assert subjects is not None and len(evaluator.truth) == domains * (domains - 1) * subjects
    monkeypatch.setattr(recipe, "translate", lambda generator, images, *_: images)
    identity = evaluator(trainer.ema.module)
    assert f"the inputs have {identity:.2f}" in evaluator.title and identity < 30
    score = score_translations(recipe, trainer.ema.module)
    assert score.psnr == score.input_psnr == pytest.approx(identity) and score.distance == score.input_distance > 0.01
    assert score.blurred_psnr > score.input_psnr

    def true(generator: Any, images: Tensor, sources: Tensor, targets: Tensor) -> Tensor:
        pixels = ((images + 1) * 127.5).round().to(torch.uint8)
        places = (pixels.flatten(1)[:, None] == recipe.sources.images.flatten(1)).all(2).int().argmax(1)
        return recipe.sources.truth(places, targets) / 127.5 - 1

    monkeypatch.setattr(recipe, "translate", true)
    score = score_translations(recipe, trainer.ema.module)
    assert score.psnr > 58 and score.distance < 1e-6


def test_psnr_is_ten_times_the_logarithm() -> None:
    truth = torch.full((2, 3, 4, 4), 100, dtype=torch.uint8)
    images = truth.clone()
    images[0] += 5
    images[1, 0] += 30
    expected = [10 * torch.tensor(255**2 / 25).log10(), 10 * torch.tensor(255**2 / 300).log10()]
    torch.testing.assert_close(psnr(images, truth), torch.stack(expected))


def test_feature_distance_is_that_of_unit_vectors() -> None:
    distance = FeatureMapDistance()
    images = torch.randint(256, (2, 3, 32, 32), dtype=torch.uint8)
    others = images.roll(8, 3)
    network = distance._network.network
    found = []
    for side in (images, others):
        x = torch.nn.functional.interpolate(side.float(), size=64, mode="bilinear", antialias=True)
        x = network._swish(network._bn0(network._conv_stem((x - 127) / 128)))
        found.append([x := block(x) for block in network._blocks])
    terms = []
    for stage in (0, 2, 4, 10, 15):
        x, y = (maps[stage] / maps[stage].norm(dim=1, keepdim=True) for maps in found)
        terms.append(2 - 2 * (x * y).sum(1).mean((1, 2)))
    torch.testing.assert_close(distance(images, others), torch.stack(terms).mean(0), rtol=1e-4, atol=1e-6)


def test_without_known_pairs_images_must_be_held_out() -> None:
    with pytest.raises(ConfigError, match="held_out must leave images of two domains or more of digits"):
        tiny.trainer("stargan", held_out=0)
    assert tiny.trainer("stargan").recipe.metric == "Fréchet distance"


def test_data_need_labels(tmp_path: Path) -> None:
    for name in NAMES:
        recipe = find_recipe(name)
        with pytest.raises(ConfigError, match=f"{name} needs labels"):
            recipe(build_config(recipe.Config, tiny.SETTINGS[name]), 1, None)
    with pytest.raises(ValueError, match="no image has label 11"):
        tiny.trainer("unit", second=11)


def test_domains_alternate_and_no_image_is_left_out() -> None:
    labels = torch.tensor([2, 0, 1, 0, 2, 2, 0, 0, 1])
    data = ArrayData("numbers", torch.arange(9, dtype=torch.uint8).view(9, 1, 1, 1), labels, image_size=None)
    both = AlternatingDomains(data, 0, 2)
    assert len(both) == 4 and both.num_classes == 2
    images, found = both.batch(torch.tensor([3, 0, 1, 2, 2, 3]))
    assert found is not None and found.tolist() == [0, 1] * 3
    # 1, 3, 6 and 7 have label 0; 0, 4 and 5 have label 2
    assert images.flatten().tolist() == [7, 0, 3, 5, 6, 0]


def test_only_emoji_styles_have_known_pairs(emoji: None) -> None:
    pairs = open_pairs("emoji-styles", image_size=8)
    assert pairs is not None and pairs.domains == STYLES and pairs.image_size == 8
    assert open_pairs("digits") is None and open_pairs("some/folder") is None
    assert len(open_data("emoji-styles", image_size=8)) == 3 * (40 - len(pairs))


@pytest.mark.parametrize("name", NAMES)
def test_a_run_is_sampled_and_evaluated(name: str, emoji: None, tmp_path: Path) -> None:
    run, values = (
        tmp_path / "run",
        tiny.SETTINGS[name] | {"batch_size": 4, "device": "cpu", "steps": 1, "metric_every": 1},
    )
    flags = [part for key, value in values.items() for part in ("--set", f"{key}={value}")]
    result = CliRunner().invoke(app, ["train", name, "--out", str(run), *flags])
    assert result.exit_code == 0, result.output
    assert "PSNR of translations: dB, " in result.output and "step 1: PSNR of translations " in result.output
    result = CliRunner().invoke(app, ["sample", str(run), "--n", "20"])
    assert result.exit_code == 0, result.output
    source = RunSource(run, 70, 0, torch.device("cpu"))
    (images,) = source.images(torch.arange(60, 70))
    assert images.shape == (10, 3, 8, 8) and images.dtype == torch.uint8
    assert torch.equal(images, source.images(torch.arange(60, 70))[0])
    (tmp_path / "emoji-16.0.0.npz").unlink()
    result = CliRunner().invoke(app, ["sample", str(run)])
    assert result.exit_code == 1 and "Error: emoji not found in " in result.output
