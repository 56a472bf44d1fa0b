"""Penalties by name: each trains, in place of the recipe's own, and what cannot be says so."""

from __future__ import annotations

import pytest
import torch

from fastgan.data import open_data
from fastgan.penalties import PENALTIES, R1, R2, get
from fastgan.trainers.adversarial import named_penalties
from fastgan.trainers.compare import compare_with_stock
from fastgan.trainers.config import ConfigError
from fastgan.trainers.recipe import find_recipe

from . import tiny


@pytest.mark.parametrize("name", PENALTIES)
def test_each_trains_and_counts_by_its_weight(name: str) -> None:
    """The loss is another than without; how its gradient was found is told, but for the finite difference."""
    losses = {}
    for weight in (1, 3):
        trainer = tiny.trainer("dcgan", penalty=f"{name}:{weight}")
        losses[weight] = trainer.update()["loss/discriminator"]
        (penalty,) = trainer.discriminator.module.penalties
        assert type(penalty) is PENALTIES[name]
        paths = {points: each.path for points, each in trainer.discriminator.module.explain().items()}
        assert paths == ({} if name == "approximate_r1" else {penalty.points: "tail"})
    plain = tiny.trainer("dcgan").update()["loss/discriminator"]
    if name == "wgan_lp":  # the first gradients are short, and so free
        assert losses[1] == losses[3] == plain
    else:
        assert losses[3] > losses[1] > plain
    if name in ("r1", "r2"):  # which draw no points and leave batch norm's statistics alone
        torch.testing.assert_close(losses[3] - plain, 3 * (losses[1] - plain), rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize(
    ("name", "penalty"),
    [("dcgan", "wgan_gp:10"), ("dcgan", "r1:1,r2:2"), ("sngan", "dragan:1"), ("sagan", "r1:1"), ("biggan", "r1:1")],
)
def test_first_step_is_that_of_stock_modules(name: str, penalty: str) -> None:
    trainer = tiny.trainer(name, penalty=penalty)
    data = open_data("digits", image_size=trainer.config.image_size)
    found = compare_with_stock(find_recipe(name), trainer.config, data, trainer.fabric, steps=1, pairs=1)
    assert found.differences[torch.float64] <= 1e-9


@pytest.mark.parametrize("name", ["gan", "wgan", "wgan-gp", "wgan-lp", "progan"])
def test_they_replace_the_recipes_own(name: str) -> None:
    trainer = tiny.trainer(name, penalty="r1:2, r2:1")
    assert all(loss.isfinite() for loss in trainer.update().values())
    first, second = trainer.discriminator.module.penalties
    assert (type(first), first.gamma, type(second), second.gamma) == (R1, 2.0, R2, 1.0)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("r3:1", "unknown penalty 'r3'; there are: r1, r2, zero_centered, wgan_gp, wgan_lp, dragan, approximate_r1"),
        ("r1:1,", "unknown penalty ''"),
        *((f"r1{weight}", "penalty must be r1:WEIGHT with a positive number") for weight in ("", ":", ":x", ":0")),
        ("r2:1,r1:inf", "penalty must be r1:WEIGHT with a positive number, got 'r1:inf'"),
    ],
)
def test_what_cannot_be(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        named_penalties(text)
    with pytest.raises(ConfigError, match=message):
        tiny.config("dcgan", penalty=text)


def test_get_lists_the_names() -> None:
    with pytest.raises(ValueError, match=r"penalties\.get: name must be one of r1, r2, .*, got 'r3'"):
        get("r3")


@pytest.mark.parametrize(
    ("name", "values", "message"),
    [
        ("r3gan", {}, "penalty must be '' for r3gan, whose R1 and R2 follow a schedule: set gamma and final_gamma"),
        ("stylegan2", {}, "penalty must be '' for stylegan2, whose R1 is lazy: set gamma and r1_every"),
        ("vaegan", {}, "penalty must be '' for vaegan, which judges real images and two kinds of fakes in one batch"),
        ("stargan", {}, "unknown setting 'penalty'"),
        ("unit", {}, "unknown setting 'penalty'"),
        ("wgan-gp", {"penalty_weight": 5.0}, "penalty_weight must be 10.0 with penalty=r1:1, which has its"),
        ("progan", {"penalty_weight": 5.0}, "penalty_weight must be 10.0 with penalty=r1:1, which has its"),
    ],
)  # fmt: skip
def test_recipes_that_cannot_say_so(name: str, values: dict[str, float], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        tiny.config(name, penalty="r1:1", **values)
