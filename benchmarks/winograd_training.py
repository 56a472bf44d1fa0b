"""Trains a narrow SNGAN-32 from several seeds, with Winograd's convolutions and with direct ones, and draws the losses.

``python -m benchmarks.winograd_training docs/images/winograd-training`` writes a .json and a .png, in minutes.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import torch

import fastgan
from fastgan.trainers.config import build_config
from fastgan.trainers.recipe import find_preset, find_recipe
from fastgan.trainers.run import make_trainer

STEPS, SEEDS = 300, (0, 1, 2)
#: Losses are averaged over so many steps: one alone is mostly the noise of its batch.
WINDOW = 25
#: The preset's networks with the width that Winograd's algorithm serves throughout.
SETTINGS = {"device": "cpu", "steps": STEPS, "batch_size": 16, "g_channels": 64, "d_channels": 64}


#: The last differs from direct as little as can be: what is between those two is chaos, not an algorithm's error.
SIDES = ("winograd", "direct", "direct, one ulp away")


def losses(seed: int, side: str, data: Any) -> dict[str, list[float]]:
    """Each loss in each step."""
    recipe = find_recipe("sngan")
    config = build_config(recipe.Config, find_preset(recipe, "small"), {**SETTINGS, "seed": seed})
    with fastgan.exact_convolutions(side != "winograd"):
        trainer = make_trainer(recipe, config, data)
        if side == SIDES[2]:
            with torch.no_grad():
                for weight in (*trainer.generator.parameters(), *trainer.discriminator.parameters()):
                    weight.copy_(weight.nextafter(torch.full_like(weight, torch.inf)))
        steps = [trainer.update() for _ in range(STEPS)]
    return {name: [step[name].item() for step in steps] for name in steps[0]}


def smooth(values: list[float]) -> torch.Tensor:
    """Means over neighbouring steps."""
    return torch.tensor(values, dtype=torch.float64).unfold(0, WINDOW, WINDOW).mean(1)


def spread(runs: dict[str, dict[str, list[float]]], name: str) -> dict[str, float]:
    """How far the two algorithms are apart, and how far the seeds of one are: root mean squares of smoothed losses."""
    winograd, direct, near = (torch.stack([smooth(runs[f"{s} {seed}"][name]) for seed in SEEDS]) for s in SIDES)
    return {
        "winograd and direct, same seed": (winograd - direct).square().mean().sqrt().item(),
        "direct and direct one ulp away, same seed": (near - direct).square().mean().sqrt().item(),
        "direct, two seeds": (2 * direct.var(0)).mean().sqrt().item(),
        "winograd minus direct, mean of all": (winograd - direct).mean().item(),
        "winograd and direct, first step": max(
            abs(runs[f"winograd {seed}"][name][0] - runs[f"direct {seed}"][name][0]) for seed in SEEDS
        ),
    }


def draw(runs: dict[str, dict[str, list[float]]], path: Path) -> None:
    """A panel for each loss, a line for each run, those of one seed in one colour."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    names = list(next(iter(runs.values())))
    figure, axes = pyplot.subplots(1, len(names), figsize=(10, 3.6))
    steps = torch.arange(STEPS).unfold(0, WINDOW, WINDOW).double().mean(1)
    for axis, name in zip(axes, names, strict=True):
        for side, line in zip(SIDES, ("-", "--", ":"), strict=True):
            for seed in SEEDS:
                label = f"{side}, seed {seed}"
                axis.plot(steps, smooth(runs[f"{side} {seed}"][name]), line, color=f"C{seed}", label=label)
        axis.set(title=name.removeprefix("loss/"), xlabel=f"step (means of {WINDOW})", ylabel="hinge loss")
    axes[0].legend(fontsize=7)
    figure.tight_layout()
    figure.savefig(path, dpi=120)


def main() -> None:
    """Train all runs, save after each, print how far they are apart."""
    from fastgan.data import open_data

    out = Path(sys.argv[1])
    data = open_data("fashion-mnist")
    runs: dict[str, dict[str, list[float]]] = {}
    for seed in SEEDS:
        for side in SIDES:
            runs[f"{side} {seed}"] = losses(seed, side, data)
            print(
                side,
                seed,
                {name: round(smooth(values)[-1].item(), 3) for name, values in runs[f"{side} {seed}"].items()},
            )
    summary = {name: spread(runs, name) for name in next(iter(runs.values()))}
    rounded = {run: {name: [round(v, 4) for v in values] for name, values in by.items()} for run, by in runs.items()}
    out.with_suffix(".json").write_text(json.dumps({"summary": summary, "losses": rounded}) + "\n")
    draw(runs, out.with_suffix(".png"))
    print(json.dumps(summary, indent=1))


if __name__ == "__main__":
    main()
