"""One recipe's ``small`` preset, trained in a folder of its own; a finished run is not trained twice."""

from __future__ import annotations

import copy
import dataclasses
import json
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import torch
from rich.console import Console
from torch import nn

from fastgan.data import ImageData, open_data
from fastgan.trainers.config import ConfigError, TrainConfig, build_config
from fastgan.trainers.loop import Trainer
from fastgan.trainers.recipe import Recipe, find_preset, find_recipe
from fastgan.trainers.run import make_trainer, run_config, start

__all__ = ["PRESET", "FinishedRun", "finished_run"]

PRESET = "small"
#: Checkpoints in the course of a run, evenly spaced; the last is its end. Progressive growing has as many phases.
CHECKPOINTS = 5


class FinishedRun:
    """A run that came to its end.

    Parameters
    ----------
    folder : Path
        As ``fastgan train --out`` leaves it.
    trainer : Trainer
        Of the run's recipe, settings and data, untrained.
    data : ImageData
        All of the run's data; the trainer's lack what it holds out.
    seconds : dict
        ``wall`` and ``cpu`` (user and system time, all threads) of the training.
    threads : int
        It was trained with.

    Attributes
    ----------
    trainer : Trainer
        As it is after the last step, or where ``generators`` has got to.
    untrained : nn.Module
        The generator before the first step.
    checkpoints : list of Path
        From first to last.
    """

    def __init__(
        self, folder: Path, trainer: Trainer, data: ImageData, seconds: dict[str, float], threads: int
    ) -> None:
        self.folder = folder
        self.trainer = trainer
        self.data = data
        self.seconds = seconds
        self.threads = threads
        self.untrained: nn.Module = copy.deepcopy(trainer.ema.module)
        self.checkpoints = sorted((folder / "checkpoints").glob("step-*.safetensors"))
        self.trained()

    def trained(self) -> nn.Module:
        """The moving-average generator after the last step."""
        if self.trainer.step != self.trainer.config.steps:
            self.trainer.load(self.checkpoints[-1])
        return self.trainer.ema.module

    def generators(self) -> Iterator[tuple[int, nn.Module]]:
        """Step and moving-average generator: untrained, then at each checkpoint, which is gone with the next one."""
        yield 0, self.untrained
        for path in self.checkpoints:
            self.trainer.load(path)
            yield self.trainer.step, self.trainer.ema.module


def small_config(recipe: type[Recipe]) -> TrainConfig:
    """The preset with its seed, on the CPU; what is written on the way changes nothing in the training."""
    config = build_config(recipe.Config, find_preset(recipe, PRESET), {"device": "cpu"})
    return dataclasses.replace(
        config, metric_every=0, checkpoint_every=-(-config.steps // CHECKPOINTS), keep_checkpoints=CHECKPOINTS
    )


def finished_run(name: str, folder: Path, console: Console) -> FinishedRun:
    """Train recipe ``name`` in ``folder``, unless it holds that very run, finished.

    A run of other settings, or cut off, is removed: only whole ones have a time.
    """
    recipe = find_recipe(name)
    config = small_config(recipe)
    record = folder / "seconds.json"
    if not (record.is_file() and _is_run_of(folder, recipe, config)):
        shutil.rmtree(folder, ignore_errors=True)
        wall, cpu = time.perf_counter(), time.process_time()
        start(recipe, config, folder, resume=False, console=console)
        seconds = {"wall": time.perf_counter() - wall, "cpu": time.process_time() - cpu}
        record.write_text(json.dumps({"seconds": seconds, "threads": torch.get_num_threads()}))
    data = open_data(config.data, image_size=config.image_size)
    return FinishedRun(folder, make_trainer(recipe, config, data), data, **json.loads(record.read_text()))


def _is_run_of(folder: Path, recipe: type[Recipe], config: TrainConfig) -> bool:
    try:
        return run_config(folder) == (recipe, config)
    except ConfigError:
        return False
