"""A run killed at a bad moment continues bit for bit; files that are no checkpoint of it are refused and left alone."""

from __future__ import annotations

import dataclasses
import json
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from rich.console import Console
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from fastgan.trainers import checkpoint
from fastgan.trainers.checkpoint import CheckpointError
from fastgan.trainers.config import ConfigError
from fastgan.trainers.loop import Trainer
from fastgan.trainers.run import resolve, run_config, start
from fastgan.trainers.sngan import SNGAN
from fastgan.trainers.state import optimizer_state

from .runs import assert_discriminator_learned, flags, run_python, tiny_config, tiny_trainer

KILLED = str(Path(__file__).with_name("killed_run.py"))


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> dict[str, torch.Tensor]:
    out = tmp_path_factory.mktemp("uninterrupted") / "run"
    run_python("-m", "fastgan", "train", "sngan", "--out", str(out), *flags())
    tensors = load_file(out / "checkpoints" / "step-00000006.safetensors")
    assert_discriminator_learned(tensors)
    return tensors


@pytest.mark.parametrize(("when", "count", "last"), [("mid-step", 6, 4), ("mid-write", 2, 2)])
def test_killed_run_resumes_bit_for_bit(
    tmp_path: Path, uninterrupted: dict[str, torch.Tensor], when: str, count: int, last: int
) -> None:
    out = tmp_path / "run"
    result = run_python(KILLED, when, str(count), "train", "sngan", "--out", str(out), *flags(), check=False)
    assert result.returncode == -signal.SIGKILL, result.stderr
    found = checkpoint.latest(out / "checkpoints")
    assert found is not None and found.name == f"step-{last:08d}.safetensors"
    leftovers = list((out / "checkpoints").glob("*.tmp"))
    assert bool(leftovers) == (when == "mid-write")

    run_python("-m", "fastgan", "train", "sngan", "--out", str(out), "--resume")
    resumed = load_file(out / "checkpoints" / "step-00000006.safetensors")
    assert resumed.keys() == uninterrupted.keys()
    different = [name for name in resumed if not torch.equal(resumed[name], uninterrupted[name])]
    assert not different
    assert not list((out / "checkpoints").glob("*.tmp"))


def _saved(tmp_path: Path, **values: object) -> Path:
    trainer = tiny_trainer(**values)
    trainer.update()
    trainer.save(tmp_path)
    path = checkpoint.latest(tmp_path)
    assert path is not None
    return path


def _damage(path: Path, how: str) -> None:
    raw = bytearray(path.read_bytes())
    if how == "truncated":
        path.write_bytes(raw[:-100])
    elif how == "flipped":
        raw[-100] ^= 1
        path.write_bytes(raw)
    elif how == "pickle":
        torch.save({"generator": {}}, path)
    elif how == "foreign":
        save_file({"weight": torch.zeros(2)}, path)
    elif how == "empty":
        path.write_bytes(b"")


@pytest.mark.parametrize("how", ["truncated", "flipped", "pickle", "foreign", "empty"])
def test_corrupt_and_foreign_files_are_refused(tmp_path: Path, how: str) -> None:
    path = _saved(tmp_path)
    _damage(path, how)
    before = path.read_bytes()
    trainer = tiny_trainer()
    weights = {name: tensor.clone() for name, tensor in trainer.generator.module.state_dict().items()}
    with pytest.raises(CheckpointError, match=path.name) as error:
        trainer.load(path)
    assert ("not a checkpoint" if how == "foreign" else "corrupt") in str(error.value)
    assert path.read_bytes() == before
    assert trainer.step == 0
    assert all(torch.equal(tensor, weights[name]) for name, tensor in trainer.generator.module.state_dict().items())


def test_other_settings_are_refused(tmp_path: Path) -> None:
    path = _saved(tmp_path)
    with pytest.raises(CheckpointError, match=r"made with other settings: seed: 1 -> 2, g_channels: 4 -> 6"):
        tiny_trainer(seed=2, g_channels=6).load(path)
    longer = tiny_trainer(steps=9, log_every=1)
    longer.load(path)
    assert longer.step == 1


def test_other_shapes_are_refused_whole(tmp_path: Path) -> None:
    """A tensor that does not fit is found before anything is changed, also where it belongs to the last module."""
    path = _saved(tmp_path)
    tensors, meta = checkpoint.load(path)
    tensors["ema.conv.bias"] = torch.zeros(7)
    path = checkpoint.save(tmp_path / "other", 1, tensors, meta, keep=1)
    trainer = tiny_trainer()
    before = trainer.generator.module.dense.weight.clone()
    with pytest.raises(
        CheckpointError, match=r"ema\.conv\.bias does not fit this run, expected \(\(1,\), .* got \(\(7,"
    ):
        trainer.load(path)
    assert torch.equal(trainer.generator.module.dense.weight, before)


def _all_state(trainer: Trainer) -> dict[str, torch.Tensor]:
    tensors = {f"{k}.{name}": t.clone() for k, m in trainer._modules().items() for name, t in m.state_dict().items()}
    for prefix, optimizer in trainer._optimizers().items():
        tensors |= {name: t.clone() for name, t in optimizer_state(prefix, optimizer)[0].items()}
    counters = torch.tensor([trainer.step, trainer.sampler.position])
    return tensors | {"rng": torch.get_rng_state(), "counters": counters}


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda t, m: m.pop("position"), "no position"),
        (lambda t, m: m.pop("optimizers"), "no optimizers"),
        (lambda t, m: m["optimizers"].pop("d_optimizer"), "parameter groups of d_optimizer"),
        (lambda t, m: m["optimizers"]["d_optimizer"]["groups"][0].pop("lr"), "parameter groups of d_optimizer"),
        (lambda t, m: t.pop("d_optimizer.3.exp_avg"), "d_optimizer lacks some of its tensors"),
        (lambda t, m: t.update({"d_optimizer.3.exp_avg": torch.zeros(3)}), r"d_optimizer\.3\.exp_avg, \(3,\), does"),
        (lambda t, m: t.pop("rng.cpu"), "rng.cpu does not fit"),
        (lambda t, m: m["precision"].update(scale=1.0), "state of precision"),
    ],
)
def test_unfit_checkpoints_change_nothing(tmp_path: Path, spoil: Callable[..., object], message: str) -> None:
    """Whatever part does not fit, the trainer stays bit for bit as it was."""
    tensors, meta = checkpoint.load(_saved(tmp_path))
    spoil(tensors, meta)
    path = checkpoint.save(tmp_path / "other", 1, tensors, meta, keep=1)
    trainer = tiny_trainer()
    trainer.update()
    trainer.update()
    before = _all_state(trainer)
    with pytest.raises(CheckpointError, match=message):
        trainer.load(path)
    after = _all_state(trainer)
    assert before.keys() == after.keys() and all(torch.equal(before[name], after[name]) for name in before)


def test_changed_metadata_are_corrupt(tmp_path: Path) -> None:
    path = checkpoint.save(tmp_path, 7, {"x": torch.ones(2)}, {"position": 1234}, keep=1)
    raw = path.read_bytes()
    assert raw.count(b"1234") == 1
    path.write_bytes(raw.replace(b"1234", b"1235"))
    with pytest.raises(CheckpointError, match="corrupt, its content does not match its checksum"):
        checkpoint.load(path)


def test_corrupt_newest_names_an_older_good_one(tmp_path: Path) -> None:
    old, middle, new = (checkpoint.save(tmp_path, step, {"x": torch.ones(2)}, {}, keep=3) for step in (1, 2, 3))
    _damage(new, "empty")
    _damage(middle, "truncated")
    with pytest.raises(CheckpointError) as error:
        checkpoint.load(new)
    assert str(error.value).endswith(f"; {old} is good: rename or remove {new.name} to continue from there")
    checkpoint.load(old)


def test_changed_data_are_refused(tmp_path: Path) -> None:
    archive = tmp_path / "data.npz"
    images = np.arange(8 * 32 * 32, dtype=np.uint32).astype(np.uint8).reshape(8, 32, 32)
    np.savez(archive, images=images)
    path = _saved(tmp_path / "checkpoints", data=str(archive), conditional=False)
    tiny_trainer(data=str(archive), conditional=False).load(path)
    images[5, 3, 3] += 1
    np.savez(archive, images=images)
    with pytest.raises(CheckpointError, match=r"data\.npz has changed since, from \(8, 1, 32, 32\) "):
        tiny_trainer(data=str(archive), conditional=False).load(path)


def test_data_may_move(tmp_path: Path) -> None:
    """To another path, whatever its name; other images of the same names and sizes are refused."""
    for index in range(8):
        (tmp_path / "a" / "one").mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (32, 32), (9 * index, 80, 0)).save(tmp_path / "a" / "one" / f"{index}.bmp")
    console, out = Console(quiet=True), tmp_path / "run"
    start(SNGAN, tiny_config(steps=1, data=str(tmp_path / "a")), out, resume=False, console=console)
    (tmp_path / "a").rename(tmp_path / "b")
    recipe, config = resolve("sngan", out, None, {"steps": 2, "data": str(tmp_path / "b")}, resume=True)
    assert start(recipe, config, out, resume=True, console=console).step == 2
    assert run_config(out)[1].data == str(tmp_path / "b")
    shutil.copytree(tmp_path / "b", tmp_path / "c")
    Image.new("RGB", (32, 32), (9, 80, 1)).save(tmp_path / "c" / "one" / "1.bmp")
    with pytest.raises(CheckpointError, match=r"/c is not what .*/b was, from 8 files .* to 8 files"):
        start(recipe, dataclasses.replace(config, data=str(tmp_path / "c")), out, resume=True, console=console)
    assert run_config(out)[1].data == str(tmp_path / "b")


def test_newest_are_kept_and_metadata_is_json(tmp_path: Path) -> None:
    for step in (1, 2, 10):
        checkpoint.save(tmp_path, step, {"x": torch.full((2,), step)}, {"a": [1, None]}, keep=2)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "step-00000002.safetensors",
        "step-00000010.safetensors",
    ]
    tensors, meta = checkpoint.load(tmp_path / "step-00000010.safetensors")
    assert tensors["x"].tolist() == [10, 10]
    assert json.loads(json.dumps(meta)) == meta and meta["a"] == [1, None] and meta["step"] == 10


def test_failing_write_leaves_the_older_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old = checkpoint.save(tmp_path, 1, {"x": torch.ones(2)}, {}, keep=1)

    def full(*_: object) -> None:
        raise SafetensorError("No space left on device")

    monkeypatch.setattr(checkpoint, "save_file", full)
    with pytest.raises(OSError, match="No space"):
        checkpoint.save(tmp_path, 2, {"x": torch.ones(2)}, {}, keep=1)
    assert checkpoint.latest(tmp_path) == old
    checkpoint.load(old)


def test_fewer_steps_than_are_done_are_refused(tmp_path: Path) -> None:
    console = Console(quiet=True)
    start(SNGAN, tiny_config(steps=2), tmp_path, resume=False, console=console)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    with pytest.raises(ConfigError, match=r"step-00000002\.safetensors: 2 steps are done already, more than steps=1"):
        start(SNGAN, tiny_config(steps=1), tmp_path, resume=True, console=console)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before
    assert start(SNGAN, tiny_config(steps=3), tmp_path, resume=True, console=console).step == 3


def test_optimizer_moments_keep_the_layout(tmp_path: Path) -> None:
    path = _saved(tmp_path)
    trainer = tiny_trainer()
    trainer.load(path)
    for optimizer in (trainer.g_optimizer.optimizer, trainer.d_optimizer.optimizer):
        for parameter, state in optimizer.state.items():
            assert state["exp_avg"].stride() == parameter.stride()
