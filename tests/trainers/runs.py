"""Small runs that the tests share."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from lightning.fabric import Fabric

from fastgan.data import ImageData, open_data
from fastgan.trainers.config import build_config
from fastgan.trainers.loop import Trainer
from fastgan.trainers.sngan import SNGAN, SNGANConfig

TINY: dict[str, Any] = {
    "data": "digits", "steps": 6, "batch_size": 4, "n_dis": 2, "latent_dim": 8, "g_channels": 4, "d_channels": 4,
    "conditional": True, "metric_every": 0, "sample_every": 0, "log_every": 2, "checkpoint_every": 2, "device": "cpu",
}  # fmt: skip


def tiny_config(**values: Any) -> SNGANConfig:
    return build_config(SNGANConfig, TINY, values)


def tiny_trainer(data: ImageData | None = None, **values: Any) -> Trainer:
    config = tiny_config(**values)
    fabric = Fabric(accelerator="cpu", devices=1, precision=config.precision)
    return Trainer(SNGAN, config, data or open_data(config.data), fabric)


def flags(**values: Any) -> list[str]:
    """TINY as options of ``fastgan train``."""
    return [part for name, value in (TINY | values).items() for part in ("--set", f"{name}={value}")]


def run_python(*arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    """Run Python in a process of its own, always on two threads (bits depend on their number), which wait politely."""
    root = Path(__file__).parents[2]
    environment = os.environ | {
        "OMP_NUM_THREADS": "2",
        "OMP_WAIT_POLICY": "PASSIVE",
        "PYTHONPATH": os.pathsep.join([str(root), os.environ.get("PYTHONPATH", "")]),
    }
    result = subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, env=environment, timeout=240, check=False
    )
    if check and result.returncode:
        raise AssertionError(f"{arguments} failed with {result.returncode}:\n{result.stdout}\n{result.stderr}")
    return result
