"""Two processes on the CPU (gloo)."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from lightning.fabric import Fabric

from fastgan.trainers import checkpoint
from fastgan.trainers.config import ConfigError
from fastgan.trainers.recipe import find_recipe, recipe_names
from fastgan.trainers.run import make_trainer, sample_run

from . import tiny
from .joint_run import OPTIONS, train
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


_SHARDABLE = [name for name in recipe_names() if find_recipe(name).forward_only and find_recipe(name).shardable]
_CASES = [*recipe_names(), *(f"{name}+fsdp" for name in _SHARDABLE), "dcgan+unrolled", "sngan+unrolled"]


def test_sharded_run_resumes_bit_for_bit_and_samples_in_one_process(tmp_path: Path) -> None:
    out = tmp_path / "run"
    command = ("-m", "fastgan", "train", "sngan", "--out", str(out))
    values = {"processes": 2, "fsdp": True, "steps": 4, "sample_every": 2, "metric_every": 4, "metric_samples": 8}
    run_python(*command, *flags(**values))
    assert sorted(path.name for path in (out / "samples").iterdir()) == ["step-00000002.png", "step-00000004.png"]
    last = out / "checkpoints" / "step-00000004.safetensors"
    expected = checkpoint.load(last)
    assert_discriminator_learned(expected[0])
    last.unlink()
    result = run_python(*command, "--resume")
    assert "resumed" in result.stdout
    found = checkpoint.load(last)
    assert found[1] == expected[1] and found[0].keys() == expected[0].keys()
    assert [name for name in found[0] if not torch.equal(found[0][name], expected[0][name])] == []
    # The whole weights, as the network of one process has them.
    grid, _, step = sample_run(out, 10, seed=0)
    assert step == 4 and grid.shape == (32, 320, 1) and grid.float().std() > 0


def test_recipes_that_cannot_be_sharded_say_so() -> None:
    assert set(recipe_names()) - set(_SHARDABLE) == {"biggan", "sagan", "vaegan", "stargan", "unit"}
    for name in set(recipe_names()) - set(_SHARDABLE):
        with pytest.raises(ConfigError, match=f"fsdp=true is not for {name}, whose generator"):
            make_trainer(find_recipe(name), tiny.config(name, processes=2, fsdp=True))


@pytest.fixture(scope="module")
def joint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("joint")
    torchrun = ("-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2")
    run_python(*torchrun, str(Path(__file__).with_name("joint_run.py")), str(out), *_CASES)
    return out


@pytest.mark.parametrize("case", _CASES)
def test_two_processes_are_one_with_the_joint_batch(case: str, joint: Path) -> None:
    """The losses' means, and all weights and buffers, to rounding in float64; the same bits in both processes.

    These also after a step of the recipe's own optimisers, whose steps may be large where a gradient is rounding.
    """
    first, second = (torch.load(joint / f"{case}-{rank}.pt", weights_only=True) for rank in range(2))
    assert all(torch.equal(first[key], second[key]) and first[key].isfinite().all() for key in first)
    torch.set_default_dtype(torch.float64)
    try:
        name, _, option = case.partition("+")
        values = OPTIONS[option] | {"fsdp": False}
        one = train(name, Fabric(accelerator="cpu", devices=1, precision="64-true"), **values)
    finally:
        torch.set_default_dtype(torch.float32)
    assert one.keys() == {key for key in first if not key.startswith("own ")}
    for key, expected in one.items():
        torch.testing.assert_close(first[key], expected, rtol=1e-8, atol=1e-10, msg=lambda m, k=key: f"{k}: {m}")
