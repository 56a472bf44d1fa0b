"""The command line: quick help, errors in one line that list what exists, a run and samples from it."""

from __future__ import annotations

import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image
from typer.testing import CliRunner

from fastgan.cli import app
from fastgan.trainers import checkpoint
from fastgan.trainers.recipe import find_recipe

from .trainers.runs import flags

runner = CliRunner()


def test_help_imports_no_torch() -> None:
    code = (
        "import sys\nfrom fastgan.cli import app\n"
        "try:\n    app(['--help'])\nexcept SystemExit:\n    pass\n"
        "print([m for m in ('torch', 'lightning', 'numpy') if m in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert result.stdout.strip().endswith("[]")
    assert all(command in result.stdout for command in ("train", "sample", "evaluate", "doctor", "bench"))


def test_module_is_the_same_command() -> None:
    result = subprocess.run(
        [sys.executable, "-m", "fastgan", "train", "--help"], capture_output=True, text=True, timeout=60, check=True
    )
    flags = ("data", "preset", "steps", "batch-size", "out", "seed", "device", "precision", "resume", "stock", "strict")
    assert all(f"--{flag}" in result.stdout for flag in (*flags, "set", "settings"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["sngn"], "Error: unknown recipe 'sngn'; there are: sngan"),
        (["sngan", "--data", "mnits"], "Error: unknown data set 'mnits'; there are: fashion-mnist; digits; "),
        (["sngan", "--preset", "huge"], "Error: unknown preset 'huge' of sngan; there are: paper, small"),
        (["sngan", "--set", "lr=1"], "Error: unknown setting 'lr'; there are: data, image_size, steps, "),
        (
            ["sngan", "--data", "digits", "--device", "cpu", "--precision", "16-mixed"],
            "precision 16-mixed needs device cuda",
        ),
        (["sngan", "--resume"], "no run to resume"),
        (["sngan", "--seed", str(2**32)], "seed must be at most 4294967295, got 4294967296"),
        (["sngan", "--seed", "-1"], "seed must be at least 0, got -1"),
    ],
)
def test_mistakes_get_one_line_and_leave_nothing(tmp_path: Path, arguments: list[str], message: str) -> None:
    out = tmp_path / "run"
    result = runner.invoke(app, ["train", *arguments, "--out", str(out)])
    assert result.exit_code == 1
    assert message in result.output and "Traceback" not in result.output
    assert not out.exists()


def test_settings_are_explained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the values of the preset in use, and of the options; nothing is trained."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    recipe = find_recipe("wgan-gp")
    for preset, value in (("small", recipe.presets["small"]["steps"]), ("paper", recipe.Config().steps)):
        result = runner.invoke(app, ["train", "wgan-gp", "--settings", "--preset", preset, "--set", "stock=yes"])
        assert result.exit_code == 0, result.output
        assert f"wgan-gp, preset {preset}" in result.output
        lines = (line.strip().split(maxsplit=2) for line in result.output.splitlines())
        rows = {cells[0]: cells[1:] for cells in lines if cells}
        assert rows["steps"] == [str(value), "generator updates in the whole run"]
        assert rows["stock"] == ["true", "build from PyTorch's own modules, for comparison"]
        assert rows["ema_decay"][1] == "decay of the generator's moving average a step, in [0, 1)"
    assert not list(tmp_path.iterdir())
    assert "`fastgan train RECIPE --settings` explains" in _one_line(["train", "sngan", "--set", "lr=1"])


def test_unknown_option_lists_what_exists(tmp_path: Path) -> None:
    result = runner.invoke(app, ["train", "sngan", "--stepz", "3"])
    assert result.exit_code == 2
    assert all(option in result.output for option in ("--batch-size", "--precision", "--steps", "--stock"))


def test_train_resume_and_sample(tmp_path: Path) -> None:
    out = tmp_path / "run"
    result = runner.invoke(app, ["train", "sngan", "--out", str(out), *flags(steps=2, sample_every=2)])
    assert result.exit_code == 0, result.output
    assert {path.name for path in out.iterdir()} == {"checkpoints", "config.yaml", "samples", "tensorboard"}
    again = runner.invoke(app, ["train", "sngan", "--out", str(out), *flags(steps=2)])
    assert again.exit_code == 1 and "--resume" in again.output
    resumed = runner.invoke(app, ["train", "sngan", "--out", str(out), "--resume", "--steps", "3"])
    assert resumed.exit_code == 0 and "3 steps done" in " ".join(resumed.output.split())  # a long path is wrapped

    result = runner.invoke(app, ["sample", str(out), "--n", "13", "--seed", "4"])
    assert result.exit_code == 0, result.output
    path = out / "samples" / "sample-13-seed-4.png"
    assert "13 images, of step 3" in result.output
    with Image.open(path) as image:
        assert image.size == (320, 64)
    first = path.read_bytes()
    runner.invoke(app, ["sample", str(out), "--n", "13", "--seed", "4"])
    assert path.read_bytes() == first
    runner.invoke(app, ["sample", str(out), "--n", "13", "--seed", "5", "--out", str(tmp_path / "x.png")])
    assert (tmp_path / "x.png").read_bytes() != first
    assert _one_line(["sample", str(out), "--out", str(tmp_path / "x.jpg")]) == (
        f"Error: {tmp_path / 'x.jpg'}: a picture's name must end in .png\n"
    )
    assert not (tmp_path / "x.jpg").exists()


def test_broken_images_are_counted_at_the_end_or_stop_the_run(tmp_path: Path) -> None:
    folder = tmp_path / "images"
    folder.mkdir()
    for i in range(8):
        Image.new("RGB", (32, 32), (30 * i, 0, 0)).save(folder / f"{i}.png")
    (folder / "3.png").write_bytes(b"not a picture")
    options = flags(steps=2, data=folder, conditional=False)
    with pytest.warns(UserWarning, match=r"3\.png: broken image"):
        result = runner.invoke(app, ["train", "sngan", "--out", str(tmp_path / "run"), *options])
    assert result.exit_code == 0 and "images: 1 broken image skipped" in result.output
    result = runner.invoke(app, ["train", "sngan", "--out", str(tmp_path / "strict"), "--strict", *options])
    assert result.exit_code == 1 and "3.png: broken image" in result.output


def _one_line(arguments: list[str]) -> str:
    """Run a command that must fail with exit code 1 and one line of explanation."""
    result = runner.invoke(app, arguments)
    assert result.exit_code == 1 and isinstance(result.exception, SystemExit), result
    assert result.output.startswith("Error: ") and result.output.count("\n") == 1
    return result.output


def test_files_in_the_way_get_one_line(tmp_path: Path) -> None:
    out, file = tmp_path / "run", tmp_path / "file"
    file.write_text("kept")
    assert str(file) in _one_line(["train", "sngan", "--out", str(file), *flags(steps=1)])
    assert f"Not a directory: '{file}" in _one_line(["train", "sngan", "--out", str(file / "x"), *flags(steps=1)])
    assert runner.invoke(app, ["train", "sngan", "--out", str(out), *flags(steps=1)]).exit_code == 0
    assert str(file) in _one_line(["sample", str(out), "--n", "1", "--out", str(file / "x.png")])
    assert file.read_text() == "kept"

    settings = (out / "config.yaml").read_text()
    (out / "config.yaml").write_text(settings.replace("steps: 1\n", "steps: abc\n", 1))
    for command in (["train", "sngan", "--resume", "--out", str(out)], ["sample", str(out)]):
        assert "config.yaml: steps must be int, got 'abc'" in _one_line(command)


def test_full_disk_gets_one_line_and_keeps_the_checkpoint(tmp_path: Path) -> None:
    """A limit on the size of files, which the next checkpoint does not fit in, stands for the full disk."""
    resource = pytest.importorskip("resource")
    out = tmp_path / "run"
    assert runner.invoke(app, ["train", "sngan", "--out", str(out), *flags(steps=1)]).exit_code == 0
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (16_384, before[1]))
    try:
        result = runner.invoke(app, ["train", "sngan", "--out", str(out), "--resume", "--steps", "2"])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, ignored)
    assert result.exit_code == 1 and isinstance(result.exception, SystemExit), result
    error, good = result.output.splitlines()[-1], out / "checkpoints" / "step-00000001.safetensors"
    assert "step-00000002.safetensors: cannot be written" in error
    assert error.endswith(f"the last good checkpoint is {good}")
    assert checkpoint.latest(out / "checkpoints") == good


@pytest.mark.parametrize("here", [False, True])
def test_data_list_shows_where_each_comes_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, here: bool) -> None:
    monkeypatch.setenv("FASTGAN_DATA", str(tmp_path))
    if here:
        (tmp_path / "emoji-16.0.0.npz").touch()
    result = runner.invoke(app, ["data", "list"])
    assert result.exit_code == 0
    for text in (
        "fashion-mnist: ",
        "digits: ",
        "emoji: ",
        "emoji-styles: ",
        "license",
        "CC BY 4.0",
        "registry.npmjs.org",
        "size    31 MB to download",
        "size    nothing to download",
        "size    152 MB to download",
        "3,404 emoji, for training (of 3,786)",
    ):
        assert text in result.output
    assert ("not here; get it with `fastgan data fetch emoji`" in result.output) is not here


def test_data_fetch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FASTGAN_DATA", str(tmp_path))
    result = runner.invoke(app, ["data", "fetch", "digits"])
    assert result.exit_code == 0 and result.output.strip().endswith("digits.csv.gz")
    monkeypatch.setattr("fastgan.data.emoji._PACKAGES", {"twitter": _unreachable(tmp_path)})
    result = runner.invoke(app, ["data", "fetch", "emoji"])
    assert result.exit_code == 1 and "Traceback" not in result.output
    assert "emoji: downloading 152 MB; licence: " in result.output
    assert f"Error: emoji: file://{tmp_path}/none.tgz cannot be downloaded" in result.output
    assert "unknown data set 'mnits'; there are: fashion-mnist, digits, emoji, " in _one_line(
        ["data", "fetch", "mnits"]
    )


def _unreachable(folder: Path) -> object:
    from fastgan.data.emoji import _PACKAGES

    package = _PACKAGES["twitter"]
    return replace(package, file=replace(package.file, url=(folder / "none.tgz").as_uri()))


def test_a_reader_that_has_seen_enough_is_no_error() -> None:
    code = (
        "import os, sys\nfrom fastgan.cli import app\n"
        "read, write = os.pipe()\nos.close(read)\nos.dup2(write, 1)\nsys.stdout.reconfigure(line_buffering=True)\n"
        "app(['data', 'list'])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert (result.returncode, result.stderr) == (1, "")


def test_sample_of_no_run(tmp_path: Path) -> None:
    result = runner.invoke(app, ["sample", str(tmp_path)])
    assert result.exit_code == 1 and "not the folder of a run" in result.output


def test_bench_without_the_source_tree(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "fastgan_bench", None)
    result = runner.invoke(app, ["bench", "--quick"])
    assert result.exit_code == 1 and "install from the source tree" in result.output
