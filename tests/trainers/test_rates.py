"""Learning rates that fall in the last part of a run."""

from __future__ import annotations

import pytest

from fastgan.trainers.config import ConfigError, build_config
from fastgan.trainers.sngan import SNGANConfig

from . import tiny


@pytest.mark.parametrize(
    ("decay_from", "parts"),
    [(1.0, (1.0, 1.0, 1.0, 1.0)), (0.5, (1.0, 1.0, 0.5, 0.0)), (0.0, (1.0, 0.5, 0.25, 0.0))],
)
def test_rates_fall_from_there_on(decay_from: float, parts: tuple[float, ...]) -> None:
    trainer = tiny.trainer("sngan", steps=8, g_lr=1e-3, d_lr=2e-3, decay_from=decay_from)
    networks = trainer.g_optimizer.optimizer, trainer.d_optimizer.optimizer, trainer.discriminator.module
    for step, part in zip((0, 4, 6, 8), parts, strict=True):
        trainer.recipe.prepare(step, *networks)
        assert networks[0].param_groups[0]["lr"] == pytest.approx(1e-3 * part)
        assert networks[1].param_groups[0]["lr"] == pytest.approx(2e-3 * part)


@pytest.mark.parametrize("value", [-0.1, 1.1, float("nan")])
def test_refuses_what_is_no_part_of_a_run(value: float) -> None:
    with pytest.raises(ConfigError, match=r"decay_from must be in \[0, 1\], got"):
        build_config(SNGANConfig, {"decay_from": value})
