"""The results' figures on small runs: what they tell apart, and that rows are kept. No recipe's quality is asserted."""

from __future__ import annotations

import dataclasses
import functools
import itertools
import shutil
import types
from pathlib import Path

import pytest
import torch
from rich.console import Console
from torch import nn

from fastgan.data import ArrayData, open_data
from fastgan.models.layers import Layers, fast_layers
from fastgan.trainers import compare
from fastgan.trainers.compare import LossCurves, compare_with_stock, loss_curves
from fastgan.trainers.config import ConfigError, TrainConfig, build_config, made_by
from fastgan.trainers.loop import Trainer
from fastgan.trainers.processes import make_fabric
from fastgan.trainers.recipe import Recipe, recipe_names
from fastgan.trainers.sngan import SNGAN
from fastgan.trainers.stylegan2 import StyleGAN2
from fastgan_bench.systems import __main__ as command
from fastgan_bench.systems import training
from fastgan_bench.systems.classes import recognised_classes, train_classifier
from fastgan_bench.systems.distances import distances
from fastgan_bench.systems.document import document, page
from fastgan_bench.systems.generated import final_images
from fastgan_bench.systems.row import Row, read_rows, save_picture, write_row
from fastgan_bench.systems.section import Figure, Section
from fastgan_bench.systems.stock import against_stock, curve_config, period
from fastgan_bench.systems.training import small_config
from tests.trainers import tiny

_SETTINGS = {
    "data": "digits", "seed": 1, "steps": 8, "batch_size": 4, "latent_dim": 4, "g_channels": 4, "d_channels": 4,
    "n_dis": 1, "conditional": True, "checkpoint_every": 2, "keep_checkpoints": 4, "device": "cpu", "sample_every": 0,
}  # fmt: skip

_against_stock = functools.partial(against_stock, curve_steps=3, pairs=1, seconds=0.0)


def _config(recipe: type[Recipe]) -> TrainConfig:
    return build_config(recipe.Config, _SETTINGS)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> training.FinishedRun:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training, "small_config", _config)
        return training.finished_run("sngan", tmp_path_factory.mktemp("runs") / "sngan", Console(quiet=True))


def test_a_finished_run_is_used_again_and_others_are_not(
    run: training.FinishedRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert [step for step, _ in run.generators()] == [0, 2, 4, 6, 8]
    assert run.seconds["cpu"] > 0 and run.seconds["wall"] > 0
    monkeypatch.setattr(training, "small_config", _config)
    monkeypatch.setattr(training, "start", lambda *_, **__: pytest.fail("trained again"))
    again = training.finished_run("sngan", run.folder, Console(quiet=True))
    assert again.seconds == run.seconds
    for a, b in zip(again.trained().parameters(), run.trained().parameters(), strict=True):
        assert torch.equal(a, b)
    monkeypatch.setattr(training, "small_config", lambda recipe: dataclasses.replace(_config(recipe), seed=2))
    with pytest.raises(pytest.fail.Exception, match="trained again"):
        training.finished_run("sngan", run.folder.parent / "other", Console(quiet=True))


def test_a_run_of_other_versions_is_not_passed_off_as_one_of_these(
    run: training.FinishedRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert Row.of(run, []).made_by == made_by()
    assert training.is_finished(SNGAN, run.trainer.config, run.folder)
    monkeypatch.setattr(training, "made_by", lambda: made_by() | {"torch": "1.0"})
    assert not training.is_finished(SNGAN, run.trainer.config, run.folder)


def test_only_runs_of_the_command_are_removed(
    run: training.FinishedRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    foreign = tmp_path / "sngan"
    shutil.copytree(run.folder, foreign)
    (foreign / "seconds.json").unlink()  # as `fastgan train` leaves it
    with pytest.raises(ConfigError, match=r"sngan: not a run of this command"):
        training.finished_run("sngan", foreign, Console(quiet=True))
    assert len(list((foreign / "checkpoints").iterdir())) == 4
    monkeypatch.setattr(training, "start", lambda *_, **__: pytest.fail("trained"))
    cut_off = tmp_path / "cut off"
    for _ in range(2):  # from nothing, and from what the first left
        with pytest.raises(pytest.fail.Exception, match="trained"):
            training.finished_run("sngan", cut_off, Console(quiet=True))


def test_untrained_is_the_generator_before_the_first_step(run: training.FinishedRun) -> None:
    config = run.trainer.config
    torch.manual_seed(config.seed)
    expected, _ = SNGAN(config, 1, 10).networks(fast_layers())
    for a, b in zip(run.untrained.parameters(), expected.parameters(), strict=True):
        assert torch.equal(a, b)


def test_distances_follow_the_run(run: training.FinishedRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FASTGAN_DATA", str(tmp_path))
    section = distances(run, distance_samples=40, samples=60)
    assert list(section.figures) == [
        "untrained", "at 1/4", "at 2/4", "at 3/4", "at the end", "precision", "recall"
    ]  # fmt: skip
    assert all(section.figures[name].value > 0 for name in list(section.figures)[:5])
    assert not section.goals["precision and recall are above 0.1"]  # eight steps make no digits
    assert distances(run, distance_samples=40, samples=60) == section  # with the real features that were kept


def test_classifier_tells_digits_apart_and_not_noise(run: training.FinishedRun) -> None:
    _, accuracy = train_classifier(run.data, held_out=300, epochs=8)
    assert accuracy > 0.9
    random = torch.randint(0, 256, (600, 1, 8, 8), dtype=torch.uint8)
    labels = torch.arange(600) % 10
    _, of_noise = train_classifier(ArrayData("noise", random, labels, 8), held_out=100, epochs=1)
    assert of_noise < 0.3
    section = recognised_classes(run, samples=40)
    images, wanted = final_images(run, 40)
    assert wanted is not None and len(images) == 40 and section.figures["generated"].value < 0.7


def test_stock_comparison_sees_what_differs() -> None:
    section = _against_stock(SNGAN, build_config(SNGAN.Config, _SETTINGS), open_data("digits"))
    assert "1 neighbouring segments" in section.note and "0.03 of the preset's learning rates" in section.note
    assert section.figures["losses differ by"].value < 1e-9 and all(section.goals.values())
    same = {"a": [1.0, -4.0], "b": [2.0, 2.0]}
    assert LossCurves(same, same, same).difference() == (0.0, 1)
    found, step = LossCurves({"a": [1.0, -4.0], "b": [2.0, 2.5]}, same, same).difference()
    assert found == pytest.approx(0.25) and step == 2
    # Less than float32 tells apart, whatever the default.
    found, step = LossCurves({"a": [1.0, -4.0 - 4e-10], "b": [2.0, 2.0]}, same, same).difference()
    assert found == pytest.approx(1e-10, rel=1e-5) and step == 2
    assert LossCurves(same, same, {"a": [1.0, -4.0], "b": [2.0, 2.5]}).rounding() == pytest.approx(0.25)
    assert not LossCurves({"a": [1.0, float("nan")], "b": [2.0, 2.0]}, same, same).difference()[0] <= 1e-6


class _WrongLater(nn.Conv2d):
    """Right in a first step's two forwards, which the comparison looks at by itself; then wrong by 1e-4."""

    forwards = 0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.forwards += 1
        return super().forward(x) * (1 if self.forwards <= 2 else 1 + 1e-4)


def test_curves_do_not_agree_where_a_module_is_wrong_by_a_ten_thousandth(monkeypatch: pytest.MonkeyPatch) -> None:
    def networks(self: SNGAN, layers: Layers) -> tuple[nn.Module, nn.Module | None]:
        generator, discriminator = build(self, layers)
        last = next(m for m in reversed(list(generator.modules())) if isinstance(m, nn.Conv2d))
        if not self.config.stock:
            last.__class__ = _WrongLater
        return generator, discriminator

    build = SNGAN.networks
    monkeypatch.setattr(SNGAN, "networks", networks)
    section = _against_stock(SNGAN, build_config(SNGAN.Config, _SETTINGS), open_data("digits"))
    assert section.figures["rounding alone"].value < 1e-12
    assert section.figures["in step"].value > 1 and section.goals == {
        "losses agree with stock modules' to 1e-06": False
    }


@pytest.mark.parametrize("name", recipe_names())
def test_curves_are_of_small_rates(name: str) -> None:
    """Every recipe's: an optimiser's rates, also where they are set anew in each step, come from these settings."""
    whole = tiny.trainer(name)
    small = tiny.trainer(name, **dataclasses.asdict(curve_config(whole.config)))
    for trainer in (whole, small):
        trainer.update()
    rates = [
        [group["lr"] for optimizer in trainer._optimizers().values() for group in optimizer.param_groups]
        for trainer in (whole, small)
    ]
    assert rates[1] == pytest.approx([0.03 * rate for rate in rates[0]])


def test_segments_are_whole_periods_of_lazy_regularisation_and_as_long_as_asked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert (period(small_config(StyleGAN2)), period(small_config(SNGAN))) == (16, 1)
    ticks = itertools.count(step=0.5)
    monkeypatch.setattr(compare, "time", types.SimpleNamespace(perf_counter=lambda: next(ticks)))
    trained: list[int] = []
    update = Trainer.update
    monkeypatch.setattr(Trainer, "update", lambda self: (trained.append(self.config.stock), update(self))[1])
    config, data = build_config(SNGAN.Config, _SETTINGS), open_data("digits")
    made = compare_with_stock(SNGAN, config, data, make_fabric("cpu", 1), steps=2, pairs=1, seconds=1.2)
    # Half a second each time the clock is read: 3 times 2 steps in 1.5 s, of 4 images each.
    assert made.pairs == [(16.0, 16.0)]
    assert trained[-12:] == [False] * 6 + [True] * 6


def test_comparison_alone_renews_its_section(
    run: training.FinishedRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "docs" / "recipes").mkdir(parents=True)
    monkeypatch.setattr(command, "finished_run", lambda *_: pytest.fail("a run was asked for"))
    monkeypatch.setattr(command, "small_config", _config)
    monkeypatch.setattr(command, "against_stock", _against_stock)
    for names in (["sngan"], ["xgan"]):
        with pytest.raises(SystemExit, match=rf"^Error: .*{names[0]}"):
            command.main([*names, "--against-stock"])
    kept = [
        Section("Kind", "A note.", {"one": Figure(1.0)}, {"it is so": True}),
        Section("Last", "", {"two": Figure(2)}),
    ]
    old = Section(
        "Against stock modules", "Old note.", {"images/s, ratio": Figure(9.0), "old": Figure(1.0)}, {"old": False}
    )
    row = Row.of(run, [kept[0], old, kept[1]])
    results = tmp_path / "benchmarks" / "results" / "systems"
    write_row(results, row)
    command.main(["--against-stock"])
    (renewed,) = read_rows(results, ["sngan"])
    first, section, last = renewed.sections
    assert [first, last] == kept and dataclasses.replace(renewed, sections=row.sections) == row
    assert section.title == old.title and section.note != old.note and "old" not in section.figures
    assert section.figures["images/s, ratio"].value != 9.0 and list(section.goals.values()) == [True]
    page = (tmp_path / "docs" / "systems.md").read_text()
    assert "Old note" not in page and "All hold." in page and "| sngan | 1 |" in page
    monkeypatch.setattr(command, "small_config", lambda recipe: dataclasses.replace(_config(recipe), steps=9))
    with pytest.raises(SystemExit, match="no row of sngan as it is"):
        command.main(["sngan", "--against-stock"])


def test_loss_curves_are_float64s_and_of_both_sides() -> None:
    config = build_config(SNGAN.Config, _SETTINGS)
    curves = loss_curves(SNGAN, config, open_data("digits"), make_fabric("cpu", 1), steps=2)
    assert curves.fast.keys() == curves.stock.keys() == {"loss/discriminator", "loss/generator"}
    assert torch.get_default_dtype() == torch.float32
    assert any(torch.tensor(v, dtype=torch.float64).float().double().tolist() != v for v in curves.fast.values())
    assert 0 < curves.rounding() < 1e-9


def test_rows_are_written_read_and_shown(run: training.FinishedRun, tmp_path: Path) -> None:
    sections = [
        Section("Kind", "A note.", {"one": Figure(12.3456), "two": Figure(-230.12, 1.7)}, {"it is so": True}),
        Section("Other kind", "Other note.", {"three": Figure(3e-10)}, {"it is not so": False}),
    ]
    row = Row.of(run, sections)
    write_row(tmp_path, row)
    assert read_rows(tmp_path, ["gan", "sngan"]) == [row]
    page = document(read_rows(tmp_path, ["sngan"]), Path("images"))
    assert "| sngan | 12.35 | -230.1 ± 1.7 |" in page and "| sngan | 3e-10 |" in page
    assert "- sngan: it does not hold that it is not so" in page and "](images/sngan.png)" in page
    save_picture(tmp_path / "sngan.png", run)
    assert (tmp_path / "sngan.png").stat().st_size < 120_000


@pytest.mark.parametrize("recipe", recipe_names())
def test_every_row_links_to_a_page(recipe: str) -> None:
    assert (Path(__file__).parents[2] / "docs" / "recipes" / f"{page(recipe)}.md").is_file()


def test_what_is_missing_is_known_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "start", lambda *_, **__: pytest.fail("trained"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "docs" / "recipes").mkdir(parents=True)
    foreign = tmp_path / "runs" / "sngan"
    foreign.mkdir(parents=True)
    (foreign / "config.yaml").touch()
    monkeypatch.setenv("FASTGAN_DATA", str(tmp_path / "no data"))
    for names, message in (
        (["gan", "xgan"], "unknown recipe 'xgan'"),
        (["vaegan"], "vaegan is measured beside vae"),
        (["vaegan", "vae"], "vaegan is measured beside vae"),
        (["gan", "sngan"], "sngan: not a run of this command"),
        (["stargan"], "emoji"),
    ):
        with pytest.raises(SystemExit, match=rf"^Error: .*{message}"):
            command.main([*names, "--runs", "runs"])
    assert (foreign / "config.yaml").is_file()


def test_it_runs_in_the_root_of_the_sources_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit):
        command.main(["gan"])
