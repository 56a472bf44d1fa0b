"""The demonstration: an SNGAN on Fashion-MNIST in minutes on a CPU; ``python -m fastgan.trainers.demo``."""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import torch
from rich.console import Console

from fastgan.data import DataError
from fastgan.data.fashion_mnist import fetch_fashion_mnist

from .compare import compare_with_stock
from .config import build_config, write_yaml
from .evaluate import FrechetEvaluator
from .images import image_grid, save_png
from .recipe import find_preset, find_recipe
from .report import Reporter
from .run import make_trainer

__all__ = ["main"]


def _free_folder(out: Path) -> Path:
    """``out``, or ``out-2``, ``out-3``, ... where that is taken: an earlier demonstration stays."""
    folder, number = out, 1
    while folder.exists() and any(folder.iterdir()):
        number += 1
        folder = out.with_name(f"{out.name}-{number}")
    return folder


def _data(console: Console) -> str:
    try:
        fetch_fashion_mnist()
    except DataError as error:
        console.print(f"{error}\nUsing scikit-learn's digits instead.", highlight=False)
        return "digits"
    return "fashion-mnist"


def main(arguments: list[str] | None = None) -> None:
    """Train, show the samples' place, the Fréchet distance before and after, and the speed beside stock PyTorch."""
    parser = argparse.ArgumentParser(prog="python -m fastgan.trainers.demo", description=main.__doc__)
    parser.add_argument("--out", type=Path, default=Path("runs/demo"), help="folder of the run")
    parser.add_argument("--steps", type=int, help="generator updates (default: the preset's)")
    options = parser.parse_args(arguments)
    console = Console()
    began = time.perf_counter()
    out = _free_folder(options.out)
    recipe = find_recipe("sngan")
    values = {"data": _data(console), "device": "cpu"} | ({"steps": options.steps} if options.steps else {})
    config = build_config(recipe.Config, find_preset(recipe, "small"), values)
    trainer = make_trainer(recipe, config)
    console.print(
        f"SNGAN on {config.data}, {len(trainer.data):,} images of 32x32: {config.steps} steps of {config.batch_size} "
        f"on {torch.get_num_threads()} CPU threads",
        highlight=False,
    )
    distance = FrechetEvaluator(trainer.recipe, trainer.data, config.metric_samples, trainer.fabric.device)
    before = distance(trainer.ema.module)
    out.mkdir(parents=True, exist_ok=True)
    write_yaml(out / "config.yaml", recipe.name, config)
    with Reporter(out, 0, config.steps, trainer.images_per_step, enabled=True, console=console) as reporter:
        trainer.run(out, reporter)
    after = distance(trainer.ema.module)
    grid = out / "samples" / "demo.png"
    save_png(grid, image_grid(trainer.sample(100, seed=0), columns=10))
    console.print("Timing the same training on fastgan's and on stock modules, in turns ...")
    comparison = compare_with_stock(recipe, config, trainer.data, trainer.fabric, steps=10, pairs=5)
    equal = ", ".join(f"{x:.0e} in {str(t).removeprefix('torch.')}" for t, x in comparison.differences.items())
    for line in (
        f"Samples:          {grid}",
        f"Fréchet distance: {before:.1f} before, {after:.1f} after ({distance.title})",
        f"Speed:            {comparison}",
        f"                  first step equal to {equal}",
        f"Time in all:      {time.perf_counter() - began:.0f} s",
    ):
        console.print(line, highlight=False, soft_wrap=True)


if __name__ == "__main__":
    main()
