"""Small runs that the tests share."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lightning.fabric import Fabric
from torch import Tensor

from fastgan.data import ImageData, open_data
from fastgan.trainers.config import build_config
from fastgan.trainers.loop import Trainer
from fastgan.trainers.sngan import SNGAN, SNGANConfig
from fastgan.trainers.state import optimizer_state

# The seed is one with which the narrow discriminator learns: with seed 0 it starts so sure of itself that every hinge
# is flat and all its gradients are zero.
TINY: dict[str, Any] = {
    "data": "digits", "seed": 1, "steps": 6, "batch_size": 4, "n_dis": 2, "latent_dim": 8, "g_channels": 4,
    "d_channels": 4, "conditional": True, "metric_every": 0, "sample_every": 0, "log_every": 2, "checkpoint_every": 2,
    "device": "cpu",
}  # fmt: skip


def tiny_config(**values: Any) -> SNGANConfig:
    return build_config(SNGANConfig, TINY, values)


def tiny_trainer(dataset: ImageData | None = None, **values: Any) -> Trainer:
    config = tiny_config(**values)
    fabric = Fabric(accelerator="cpu", devices=1, precision=config.precision)
    return Trainer(SNGAN, config, dataset or open_data(config.data), fabric)


def assert_discriminator_learned(moments: Mapping[str, Tensor]) -> None:
    """Every weight of the discriminator has had a gradient; ``moments`` may be all tensors of a checkpoint."""
    squares = {k: t for k, t in moments.items() if k.startswith("d_optimizer.") and k.endswith(".exp_avg_sq")}
    assert squares, "no moments of the discriminator's optimiser"
    assert not [name for name, tensor in squares.items() if not tensor.any()], "the discriminator did not learn"


def discriminator_moments(trainer: Trainer) -> dict[str, Tensor]:
    """State of the discriminator's optimiser, named as in a checkpoint."""
    return optimizer_state("d_optimizer", trainer.d_optimizer.optimizer)[0]


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
