"""Two processes on the CPU (gloo)."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from lightning.fabric import Fabric

from fastgan.trainers import checkpoint
from fastgan.trainers.recipe import recipe_names

from .joint_run import train
from .runs import TINY, assert_discriminator_learned, flags, run_python


def test_replicas_stay_equal(tmp_path: Path) -> None:
    script = str(Path(__file__).with_name("ddp_run.py"))
    result = run_python("-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2", script, str(tmp_path))
    assert "process 0 agrees" in result.stdout and "process 1 agrees" in result.stdout


def _check_run(out: Path, steps: int) -> None:
    """One writer, generators in one state, and a position that counts both processes' images."""
    assert [path.name for path in (out / "checkpoints").iterdir()] == [f"step-{steps:08d}.safetensors"]
    assert len(list((out / "tensorboard").iterdir())) == 1
    tensors, meta = checkpoint.load(out / "checkpoints" / f"step-{steps:08d}.safetensors")
    assert_discriminator_learned(tensors)
    assert meta["world_size"] == meta["config"]["processes"] == 2
    assert meta["position"] == steps * TINY["n_dis"] * TINY["batch_size"] * 2
    assert tensors["rng.cpu"][0].equal(tensors["rng.cpu"][1])


def test_torchrun(tmp_path: Path) -> None:
    """The command of the manual."""
    out = tmp_path / "run"
    torchrun = ("-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2", "-m", "fastgan", "train", "sngan")
    run_python(*torchrun, "--out", str(out), *flags(steps=2))
    _check_run(out, 2)


def test_command_line_starts_the_processes(tmp_path: Path) -> None:
    out = tmp_path / "run"
    run_python("-m", "fastgan", "train", "sngan", "--out", str(out), *flags(processes=2, steps=2))
    _check_run(out, 2)


@pytest.fixture(scope="module")
def joint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("joint")
    script = str(Path(__file__).with_name("joint_run.py"))
    torchrun = ("-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2", script)
    run_python(*torchrun, str(out), *recipe_names())
    return out


@pytest.mark.parametrize("name", recipe_names())
def test_two_processes_are_one_with_the_joint_batch(name: str, joint: Path) -> None:
    """The losses' means, and all weights and buffers, to rounding in float64; the same bits in both processes."""
    first, second = (torch.load(joint / f"{name}-{rank}.pt", weights_only=True) for rank in range(2))
    assert all(torch.equal(first[key], second[key]) for key in first)
    torch.set_default_dtype(torch.float64)
    try:
        one = train(name, Fabric(accelerator="cpu", devices=1, precision="64-true"))
    finally:
        torch.set_default_dtype(torch.float32)
    assert one.keys() == first.keys()
    for key, expected in one.items():
        torch.testing.assert_close(first[key], expected, rtol=1e-8, atol=1e-10, msg=lambda m, k=key: f"{k}: {m}")
