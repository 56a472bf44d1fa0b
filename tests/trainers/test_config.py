"""Settings: presets, typed overrides, what is refused and what the message lists; the YAML file."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from fastgan.trainers.config import ConfigError, build_config, parse_assignments, read_yaml, write_yaml
from fastgan.trainers.recipe import find_preset, find_recipe, recipe_names
from fastgan.trainers.run import resolve
from fastgan.trainers.sngan import SNGAN, SNGANConfig

from . import tiny
from .runs import tiny_config, tiny_trainer


def test_paper_preset_is_the_papers() -> None:
    config = build_config(SNGANConfig, find_preset(SNGAN, "paper"))
    assert (config.g_lr, config.d_lr, config.beta1, config.beta2, config.n_dis) == (2e-4, 2e-4, 0.0, 0.9, 5)
    assert (config.g_channels, config.d_channels, config.latent_dim, config.batch_size) == (256, 128, 128, 64)


@pytest.mark.parametrize("recipe", recipe_names())
def test_every_preset_is_valid_and_every_setting_has_help(recipe: str) -> None:
    cls = find_recipe(recipe)
    for name in cls.presets:
        build_config(cls.Config, find_preset(cls, name))
    assert cls.default_preset in cls.presets
    assert all(field.metadata["help"] for field in dataclasses.fields(cls.Config))


def test_assignments_are_typed() -> None:
    values = parse_assignments(SNGANConfig, ["g_lr=1e-3", "steps=1_000", "conditional=true", "data=a=b", "stock=no"])
    assert values == {"g_lr": 1e-3, "steps": 1000, "conditional": True, "data": "a=b", "stock": False}


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        ("steps=many", "steps must be int, got 'many'"),
        ("stock=maybe", "stock must be true or false, got 'maybe'"),
        ("learning_rate=1", r"unknown setting 'learning_rate'; there are: data, image_size, steps, .*g_lr, d_lr"),
        ("steps", "expected name=value, got 'steps'"),
    ],
)
def test_bad_assignments(assignment: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse_assignments(SNGANConfig, [assignment])


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"steps": 0}, "steps must be at least 1, got 0"),
        ({"batch_size": 6, "accumulate": 4}, "accumulate=4 must divide batch_size=6"),
        ({"ema_decay": 1.0}, r"ema_decay must be in \[0, 1\), got 1.0"),
        *(
            (
                {"precision": "16-mixed", "schedule": schedule},
                f"schedule must be alternating for precision 16-mixed, got {schedule}",
            )
            for schedule in ("simultaneous", "unrolled")
        ),
        ({"precision": "8"}, "unknown precision '8'; there are: 32-true, 64-true, bf16-mixed, 16-mixed"),
        ({"device": "tpu"}, "unknown device 'tpu'; there are: auto, cpu"),
        ({"seed": 2**32}, "seed must be at most 4294967295, got 4294967296"),
        ({"steps": "abc"}, "steps must be int, got 'abc'"),
        ({"steps": 1.5}, "steps must be int, got 1.5"),
        ({"steps": True}, "steps must be int, got True"),
        ({"stock": 1}, "stock must be true or false, got 1"),
        ({"g_lr": None}, "g_lr must be float, got None"),
        ({"g_lr": float("nan")}, "g_lr must be positive"),
    ],
)
def test_bad_values(values: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        tiny_config(**values)


@pytest.mark.parametrize(
    ("recipe", "values", "message"),
    [
        ("wgan", {"beta1": 0.0}, "beta1 must be 0.5 for wgan, whose RMSprop has no such setting: set g_lr and d_lr"),
        ("wgan", {"beta2": 0.9}, "beta2 must be 0.999 for wgan"),
        ("gan", {"beta1": 0.5}, "beta1 must be 0.0 with optimizer=sgd: set momentum and final_momentum"),
        *(
            (
                "gan",
                {"optimizer": "adam", name: value},
                f"{name} must be .* with optimizer=adam: set beta1, beta2, g_lr",
            )
            for name, value in (("momentum", 0.1), ("final_momentum", 0.1), ("momentum_steps", 9), ("lr_decay", 1.1))
        ),
        (
            "vae",
            {"optimizer": "adam", "weight_decay": 0.1},
            "weight_decay must be .* with optimizer=adam: it is adagrad's",
        ),
    ],
)
def test_settings_that_nothing_uses_are_refused(recipe: str, values: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        build_config(find_recipe(recipe).Config, values)


@pytest.mark.parametrize("recipe", ["vae", "vaegan"])
def test_batch_norm_of_single_numbers_needs_two_images(recipe: str) -> None:
    one = {"batch_size": 1}
    for values in (one, {"batch_size": 4, "accumulate": 4}, one | {"processes": 2, "stock": True}):
        with pytest.raises(ConfigError, match="batch_size / accumulate must be at least 2 for batch norm, got 1"):
            tiny.config(recipe, values)
    tiny.config(recipe, batch_size=1, processes=2)
    tiny.trainer(recipe, batch_size=2).update()


def test_unknown_names_list_what_exists() -> None:
    with pytest.raises(ConfigError, match="unknown recipe 'xgan'; there are: sngan"):
        find_recipe("xgan")
    with pytest.raises(ConfigError, match="unknown preset 'big' of sngan; there are: paper, small"):
        find_preset(SNGAN, "big")


def test_conditional_needs_labels(tmp_path: Path) -> None:
    import torch

    from fastgan.data import ArrayData

    data = ArrayData("unlabelled", torch.zeros(8, 1, 32, 32, dtype=torch.uint8))
    with pytest.raises(ConfigError, match="set conditional=false"):
        tiny_trainer(data)
    tiny_trainer(data, conditional=False).update()


def test_yaml_keeps_everything(tmp_path: Path) -> None:
    config = tiny_config(g_lr=3e-5, seed=4)
    write_yaml(tmp_path / "config.yaml", "sngan", config)
    name, values = read_yaml(tmp_path / "config.yaml")
    assert name == "sngan" and build_config(SNGANConfig, values) == config
    (tmp_path / "config.yaml").write_text("- a list")
    with pytest.raises(ConfigError, match=r"config\.yaml: not the config\.yaml of a run"):
        read_yaml(tmp_path / "config.yaml")


def test_resolve(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no run to resume"):
        resolve("sngan", tmp_path, None, {}, resume=True)
    _, fresh = resolve("sngan", tmp_path, "small", {"steps": 5}, resume=False)
    assert fresh.steps == 5 and fresh.batch_size == 32
    write_yaml(tmp_path / "config.yaml", "sngan", fresh)
    with pytest.raises(ConfigError, match=r"not an empty folder.*--resume"):
        resolve("sngan", tmp_path, None, {}, resume=False)
    with pytest.raises(ConfigError, match="no checkpoint to resume from"):
        resolve("sngan", tmp_path, None, {}, resume=True)
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "step-00000001.safetensors").touch()
    _, resumed = resolve("sngan", tmp_path, None, {"steps": 7}, resume=True)
    assert resumed == dataclasses.replace(fresh, steps=7)
    with pytest.raises(ConfigError, match="not both"):
        resolve("sngan", tmp_path, "small", {}, resume=True)
