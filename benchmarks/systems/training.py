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
from fastgan.trainers.config import ConfigError, TrainConfig, build_config, made_by, read_made_by
from fastgan.trainers.loop import Trainer
from fastgan.trainers.recipe import Recipe, find_preset, find_recipe
from fastgan.trainers.run import make_trainer, run_config, start

__all__ = ["PRESET", "FinishedRun", "check_folder", "finished_run", "is_finished", "small_config"]

PRESET = "small"
#: Checkpoints in the course of a run, evenly spaced; the last is its end. Progressive growing has as many phases.
CHECKPOINTS = 5
#: In a run's folder: empty from the start, so that the folder is known as one of ours; at the end, how long it took.
_RECORD = "seconds.json"


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
    made_by : dict
        Versions of fastgan and torch, by name, that it was trained with.

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
        self,
        folder: Path,
        trainer: Trainer,
        data: ImageData,
        seconds: dict[str, float],
        threads: int,
        made_by: dict[str, str],
    ) -> None:
        self.folder = folder
        self.trainer = trainer
        self.data = data
        self.seconds = seconds
        self.threads = threads
        self.made_by = made_by
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


def is_finished(recipe: type[Recipe], config: TrainConfig, folder: Path) -> bool:
    """Whether ``folder`` holds that very run, of these versions, at its end."""
    record = folder / _RECORD
    try:
        return bool(
            record.is_file()
            and record.read_text()
            and run_config(folder) == (recipe, config)
            and read_made_by(folder / "config.yaml") == made_by()
        )
    except ConfigError:
        return False


def check_folder(folder: Path) -> None:
    """ConfigError where ``folder`` holds anything but a run of this command's, which may be removed."""
    if folder.exists() and not (folder / _RECORD).is_file() and not (folder.is_dir() and not any(folder.iterdir())):
        raise ConfigError(
            f"{folder}: not a run of this command (it has no {_RECORD}); remove it, or give another --runs"
        )


def finished_run(name: str, folder: Path, console: Console) -> FinishedRun:
    """Train recipe ``name`` in ``folder``, unless it holds that very run, finished.

    A run of other settings or versions, or cut off, is removed: only whole ones have a time.

    Raises
    ------
    ConfigError
        If ``folder`` holds something else; it stays.
    """
    recipe = find_recipe(name)
    config = small_config(recipe)
    record = folder / _RECORD
    if not is_finished(recipe, config, folder):
        check_folder(folder)
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        record.touch()
        wall, cpu = time.perf_counter(), time.process_time()
        start(recipe, config, folder, resume=False, console=console)
        seconds = {"wall": time.perf_counter() - wall, "cpu": time.process_time() - cpu}
        record.write_text(json.dumps({"seconds": seconds, "threads": torch.get_num_threads()}))
    data = open_data(config.data, image_size=config.image_size)
    versions = read_made_by(folder / "config.yaml")
    return FinishedRun(
        folder, make_trainer(recipe, config, data), data, **json.loads(record.read_text()), made_by=versions
    )
