"""The processes of one command, and their devices."""

from __future__ import annotations

import atexit
import gc
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from . import checkpoint
from .config import ConfigError

if TYPE_CHECKING:
    from lightning.fabric import Fabric
    from torch import nn

__all__ = [
    "ProcessLostError", "anywhere", "first_process", "launch", "make_fabric", "share_statistics", "torchrun",
    "watch_processes",
]  # fmt: skip

_BROKEN_CONNECTIONS = ("gloo", "Gloo", "NCCL", "Connection closed by peer", "Connection reset by peer")


def torchrun(variable: str) -> int | None:
    """A number that torchrun hands its processes; None in a process that it did not start."""
    return int(os.environ[variable]) if "TORCHELASTIC_RUN_ID" in os.environ else None


def first_process() -> bool:
    """Whether this process is, or will become, the first of the run; known before the others are launched."""
    return int(os.environ.get("RANK", os.environ.get("LOCAL_RANK", "0"))) == 0


def make_fabric(
    device: str, processes: int, precision: str = "32-true", *, leaves_parameters_unused: bool = False
) -> Fabric:
    """Choose the device and the number of processes; ConfigError where they cannot be had. ``launch`` starts them."""
    import torch
    from lightning.fabric import Fabric

    from .strategy import MixedStrategy

    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    available = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if device not in available:
        raise ConfigError(f"unknown device {device!r}; there are: auto, {', '.join(available)}")
    if not available[device]:
        raise ConfigError(f"device {device} is not available here")
    if precision == "16-mixed" and device != "cuda":
        # Fabric would quietly take bfloat16 instead.
        raise ConfigError(f"precision 16-mixed needs device cuda, got {device}; bf16-mixed and 32-true work there")
    on_this_node = torchrun("LOCAL_WORLD_SIZE") or processes
    if processes % on_this_node:
        raise ConfigError(f"{processes} processes cannot be {on_this_node} on every node: start as many on each")
    return Fabric(
        accelerator=device,
        devices=on_this_node,
        num_nodes=processes // on_this_node,
        strategy=MixedStrategy(find_unused_parameters=leaves_parameters_unused) if processes > 1 else "auto",
        precision=precision,  # type: ignore[arg-type]  # one of PRECISIONS, checked by the config
    )


def launch(fabric: Fabric) -> None:
    """Start the processes, or join those that torchrun started."""
    fabric.launch()
    if fabric.world_size > 1:
        atexit.register(_leave)


def anywhere(fabric: Fabric, here: bool) -> bool:
    """Whether it is true in any process; all must call this."""
    import torch

    if fabric.world_size == 1:
        return here
    return bool(fabric.all_reduce(torch.tensor(float(here), device=fabric.device), reduce_op="max"))


class ProcessLostError(RuntimeError):
    """Another process of the run has ended, or cannot be reached: this one cannot go on alone."""


@contextmanager
def watch_processes(fabric: Fabric, checkpoints: Path) -> Iterator[None]:
    """Turn what a broken connection raises inside into ProcessLostError, which says how to go on."""
    import torch.distributed as dist

    try:
        yield
    except RuntimeError as error:
        # gloo's errors have no type of their own.
        broken = isinstance(error, dist.DistError) or any(word in str(error) for word in _BROKEN_CONNECTIONS)
        if fabric.world_size == 1 or not broken:
            raise
        path = checkpoint.latest(checkpoints)
        start = "there is no checkpoint yet" if path is None else f"--resume starts from {path}"
        raise ProcessLostError(
            f"process {fabric.global_rank} of {fabric.world_size} has lost another one, which has ended or cannot be "
            f"reached ({str(error).splitlines()[0]}); start all processes again: {start}"
        ) from error


def share_statistics(*networks: nn.Module | None) -> None:
    """Let fastgan's batch norms take their statistics over the images of all processes; stock ones cannot on CPUs."""
    import torch.distributed as dist

    for network in networks:
        for module in () if network is None else network.modules():
            if hasattr(module, "process_group"):
                vars(module)["process_group"] = dist.group.WORLD


def _leave() -> None:
    """Leave the group of processes while Python is whole: its threads hold the last call's tensors, and abort later."""
    import torch.distributed as dist

    gc.collect()  # data parallelism's cycles keep the group, and so its threads, alive
    if dist.is_initialized():
        dist.destroy_process_group()
