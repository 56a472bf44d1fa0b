"""Two processes on the CPU (gloo)."""

from __future__ import annotations

from pathlib import Path

from fastgan.trainers import checkpoint

from .runs import TINY, assert_discriminator_learned, flags, run_python


def test_replicas_stay_equal(tmp_path: Path) -> None:
    script = str(Path(__file__).with_name("ddp_run.py"))
    result = run_python("-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2", script, str(tmp_path))
    assert "process 0 agrees" in result.stdout and "process 1 agrees" in result.stdout


def _check_run(out: Path, steps: int) -> None:
    """One writer, two processes' noise, and a position that counts both processes' images."""
    assert [path.name for path in (out / "checkpoints").iterdir()] == [f"step-{steps:08d}.safetensors"]
    assert len(list((out / "tensorboard").iterdir())) == 1
    tensors, meta = checkpoint.load(out / "checkpoints" / f"step-{steps:08d}.safetensors")
    assert_discriminator_learned(tensors)
    assert meta["world_size"] == meta["config"]["processes"] == 2
    assert meta["position"] == steps * TINY["n_dis"] * TINY["batch_size"] * 2
    assert not tensors["rng.cpu"][0].equal(tensors["rng.cpu"][1])


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
