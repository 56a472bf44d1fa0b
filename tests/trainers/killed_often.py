"""Trains a recipe in processes that are killed one after the other: RECIPE FOLDER KILLS.

Each is a fork of this one, which has imported everything and computed nothing, so that a start costs little. Prints a
line of JSON after each kill; at the end, the run goes on to its last step, and so does one that was left alone.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import sys
import time
from pathlib import Path
from typing import Any

import torch
import torch.utils.tensorboard
from rich.console import Console

from fastgan.data import open_data
from fastgan.trainers import checkpoint
from fastgan.trainers.loop import Trainer
from fastgan.trainers.recipe import find_recipe
from fastgan.trainers.run import start
from tests.trainers import tiny

_ROUTINE: dict[str, Any] = {"n_dis": 1, "checkpoint_every": 1, "log_every": 1, "sample_every": 3, "metric_every": 0}


def _fork(name: str, out: Path, steps: int, ready: int | None = None) -> int:
    """Start a process that trains in ``out``, or goes on there; it writes to ``ready`` before each step."""
    child = os.fork()
    if child:
        return child
    status = 1
    try:
        torch.set_num_threads(1)
        recipe = find_recipe(name)
        config = tiny.config(name, _ROUTINE, {"steps": steps})
        if ready is not None:
            update = Trainer.update
            Trainer.update = lambda trainer: os.write(ready, b".") and update(trainer)  # type: ignore[method-assign]
        with (out.parent / "log").open("a") as log:
            resume = checkpoint.latest(out / "checkpoints") is not None
            start(recipe, config, out, resume=resume, console=Console(file=log))
        status = 0
    finally:
        sys.stderr.flush()
        os._exit(status)


def main() -> None:
    name, folder, kills = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
    out, moments = folder / "pieces", random.Random(0)
    open_data("digits")
    for _ in range(kills):
        read, write = os.pipe()
        before = checkpoint.latest(out / "checkpoints")
        if before is None:  # as the command line advises
            shutil.rmtree(out, ignore_errors=True)
        child = _fork(name, out, 100_000, write)
        # Some steps, so that a slow machine gets as far, and then any moment of a step and of its checkpoint.
        for _ in range(moments.randint(1, 3)):
            os.read(read, 1)
        time.sleep(moments.uniform(0, 0.1))
        os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        os.close(read)
        os.close(write)
        assert os.WIFSIGNALED(status), f"the run ended by itself, with {os.waitstatus_to_exitcode(status)}"
        path = checkpoint.latest(out / "checkpoints")
        assert before is None or (path is not None and path.name >= before.name), f"{before} was lost"
        step = 0 if path is None else checkpoint.load(path)[1]["step"]
        print(json.dumps({"latest": step}), flush=True)
    for run in (out, folder / "whole"):
        _, status = os.waitpid(_fork(name, run, step + 2), 0)
        assert status == 0, f"{run} ended with {status}"


if __name__ == "__main__":
    main()
