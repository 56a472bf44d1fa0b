"""Recipes in files of the user's: the page's example is run as it stands there."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from fastgan.cli import app
from fastgan.trainers.config import ConfigError
from fastgan.trainers.recipe import find_recipe, recipe_names, recipe_reference
from fastgan.trainers.run import run_config

_PAGE = Path(__file__).parents[2] / "docs" / "recipes" / "your-own.md"
_TINY = ["--data", "digits", "--batch-size", "4", "--device", "cpu", "--set", "image_size=16", "--set", "channels=4"]


_UNNAMED = """
from fastgan.trainers.adversarial import AdversarialRecipe


class Unbuilt(AdversarialRecipe):
    name = "unnamed"
    default_preset = "small"


class Unnamed(Unbuilt):
    def build(self, layers):
        raise NotImplementedError
"""


def _examples() -> list[str]:
    return re.findall(r"```python\n(.*?)```", _PAGE.read_text(), re.DOTALL)


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the page's my_gan.py, as the current one."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my_gan.py").write_text(_examples()[0])
    return tmp_path


def _run(*arguments: str) -> str:
    result = CliRunner().invoke(app, list(arguments))
    assert result.exit_code == 0, result.output
    return result.output


def test_the_pages_recipe_trains_resumes_and_samples(own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _run("train", "my_gan.py:MyGAN", *_TINY, "--steps", "2")
    _run("train", "my_gan.py:MyGAN", "--resume", "--steps", "4", "--out", "runs/my-gan")
    monkeypatch.chdir("/")  # found again from anywhere
    assert run_config(own / "runs" / "my-gan")[0] is find_recipe(f"{own}/my_gan.py:MyGAN")
    assert "16 images, of step 4" in _run("sample", str(own / "runs" / "my-gan"), "--n", "16")


def test_the_pages_comparison_holds(own: Path, capsys: pytest.CaptureFixture[str]) -> None:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    exec(
        _examples()[1]
        .replace("batch_size=32", "batch_size=4, image_size=16, channels=4")
        .replace("image_size=32", "image_size=16")
        .replace("steps=5, pairs=5", "steps=1, pairs=1")
    )
    torch.set_num_threads(threads)
    assert "images/s" in capsys.readouterr().out


def test_a_module_is_found_as_a_file_is(own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(own))
    recipe = find_recipe("my_gan:MyGAN")
    assert recipe_reference(recipe) == "my_gan:MyGAN"
    assert recipe is not find_recipe("my_gan.py:MyGAN")
    del sys.modules["my_gan"]
    assert [recipe_reference(find_recipe(name)) for name in recipe_names()] == recipe_names()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("gone.py:MyGAN", "gone.py: no such file"),
        ("my_gan.py:Mine", "my_gan.py has no 'Mine'"),
        ("my_gan.py:R1", "my_gan.py:R1 is not a Recipe"),
        ("unnamed.py:Unnamed", "unnamed.py:Unnamed lacks what a recipe must have: Config, presets"),
        ("unnamed.py:Unbuilt", "unnamed.py:Unbuilt lacks what a recipe must have: Config, presets, build"),
        ("no_such_module:MyGAN", "no module 'no_such_module'; a file is named as in path/to/file.py:CLASS"),
    ],
)
def test_what_is_no_recipe_is_said_in_one_line(own: Path, name: str, message: str) -> None:
    (own / "unnamed.py").write_text(_UNNAMED)
    with pytest.raises(ConfigError, match=re.escape(message)):
        find_recipe(name)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("image_size=30", "image_size must be 16 or 32 or 64 here, got 30"),
        ("conditional=true", "conditional=true is not for my-gan, whose networks take no labels"),
    ],
)
def test_the_pages_recipe_refuses_what_its_networks_do_not_take(own: Path, setting: str, message: str) -> None:
    result = CliRunner().invoke(app, ["train", "my_gan.py:MyGAN", "--set", setting])
    assert result.exit_code == 1 and result.output == f"Error: {message}\n"


def test_settings_may_be_plain_fields(own: Path) -> None:
    """They have no help, and may not change when a run is resumed."""
    (own / "plain.py").write_text(_examples()[0].replace('setting(10.0, "weight of R1")', "10.0"))
    _run("train", "plain.py:MyGAN", *_TINY, "--steps", "1")
    assert "gamma" in _run("train", "plain.py:MyGAN", "--settings")
    again = ["train", "plain.py:MyGAN", "--resume", "--out", "runs/my-gan", "--steps", "2"]
    result = CliRunner().invoke(app, [*again, "--set", "gamma=1"])
    assert result.exit_code == 1 and "gamma: 10.0 -> 1.0" in result.output
    _run(*again)


def test_errors_in_the_file_are_the_authors(own: Path) -> None:
    (own / "broken.py").write_text("import no_such_module\n")
    for _ in range(2):
        with pytest.raises(ModuleNotFoundError, match="no_such_module"):
            find_recipe("broken.py:MyGAN")
