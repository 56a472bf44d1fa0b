"""The results' figures of recipes that are no plain generators of images."""

from __future__ import annotations

from pathlib import Path

import pytest
from rich.console import Console

from fastgan.trainers.config import TrainConfig
from fastgan.trainers.recipe import Recipe
from fastgan_bench.systems import training
from fastgan_bench.systems.bounds import bounds, sharpness, sharpness_beside_vae
from fastgan_bench.systems.growth import distances_by_resolution
from fastgan_bench.systems.measurements import measurements
from fastgan_bench.systems.translations import translations
from tests.trainers import tiny
from tests.trainers.emoji_file import write_emoji

_ROUTINE = {"checkpoint_every": 1, "keep_checkpoints": 5, "sample_every": 0, "metric_every": 0}


def _run(name: str, folder: Path, monkeypatch: pytest.MonkeyPatch, **values: object) -> training.FinishedRun:
    def config(recipe: type[Recipe]) -> TrainConfig:
        return tiny.config(name, _ROUTINE, values)

    monkeypatch.setattr(training, "small_config", config)
    return training.finished_run(name, folder / name, Console(quiet=True))


def test_growing_networks_are_measured_at_each_resolution(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = _run("progan", tmp_path, monkeypatch, steps=5, image_size=16, first_size=4)
    section = distances_by_resolution(run, samples=30)
    names = list(section.figures)
    assert [name for name in names if name.startswith("8")] == ["8 x 8, untrained", "8 x 8, faded in", "8 x 8, trained"]
    assert (names[0], names[-1]) == ("4 x 4, untrained", "16 x 16, trained")
    assert all(figure.value > 0 for figure in section.figures.values())


def test_translations_are_measured_beside_their_inputs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FASTGAN_DATA", str(tmp_path))
    write_emoji(tmp_path)
    run = _run("stargan", tmp_path, monkeypatch, steps=1, data="emoji-styles", held_out=0)
    section = translations(run, samples=20)
    higher = section.figures["PSNR"].value > section.figures["input's"].value
    assert section.goals["translations have a higher PSNR than their inputs"] is higher


def test_autoencoders_have_bounds_and_sharpness(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = _run("vae", tmp_path, monkeypatch, steps=30, lr=1e-2)
    section = bounds(run, importance_samples=3)
    assert section.goals == {"the bound rises": True} and section.figures["at the end"].value < 0
    assert section.figures["at the end"].error
    of_vae = sharpness(run)
    assert of_vae.figures["of samples"].value > 0 and not of_vae.goals
    beside = sharpness_beside_vae(_run("vaegan", tmp_path, monkeypatch, steps=1))
    assert beside.title == of_vae.title and len(beside.goals) == 1


def test_kinds_of_figures() -> None:
    assert distances_by_resolution in measurements("progan", False)
    assert len(measurements("biggan", True)) == len(measurements("r3gan", False)) + 1
