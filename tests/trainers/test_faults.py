"""Full disks, folders that may not be written, processes killed at any moment: the last good checkpoint stays."""

from __future__ import annotations

import dataclasses
import json
import os
import resource
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
import torch
from rich.console import Console

from fastgan.trainers import checkpoint, images, report
from fastgan.trainers.recipe import recipe_names
from fastgan.trainers.run import start
from fastgan.trainers.sngan import SNGAN

from .runs import flags, run_python, tiny_trainer


@contextmanager
def _largest_file(size: int) -> Iterator[None]:
    """No file of this process may grow larger: what a full disk is, for one who may mount none."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@contextmanager
def _small_disk(folder: Path, size: int) -> Iterator[None]:
    options = f"size={size}"
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)], check=False)
    if made.returncode:
        pytest.skip("no file system may be mounted here")
    try:
        yield
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def _assert_intact(path: Path, before: bytes) -> None:
    assert [each.name for each in path.parent.iterdir()] == [path.name]
    assert path.read_bytes() == before
    tiny_trainer().load(path)


@pytest.mark.parametrize("how", ["limit", "tmpfs"])
def test_full_disk_leaves_the_last_checkpoint(tmp_path: Path, how: str) -> None:
    trainer = tiny_trainer()
    trainer.update()
    trainer.save(tmp_path / "size")
    path = checkpoint.latest(tmp_path / "size")
    assert path is not None
    size = path.stat().st_size
    folder = tmp_path / "full"
    folder.mkdir()
    with _small_disk(folder, 3 * size // 2) if how == "tmpfs" else _largest_file(2 * size):
        trainer.save(folder)
        good = folder / path.name
        before = good.read_bytes()
        trainer.update()
        with _largest_file(size // 2 if how == "limit" else resource.RLIM_INFINITY):  # noqa: SIM117
            with pytest.raises(OSError, match=r"step-00000002\.safetensors: cannot be written \(.*\)$") as e:
                trainer.save(folder)
        reason = {"limit": "File too large", "tmpfs": "No space left on device"}[how]
        assert reason in str(e.value)
        _assert_intact(good, before)


@pytest.mark.parametrize(("largest", "named"), [(100, "config.yaml"), (1800, "tensorboard"), (8000, "samples")])
def test_whatever_cannot_be_written_is_named_with_the_last_checkpoint(
    tmp_path: Path, largest: int, named: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(threading, "excepthook", lambda _: None)  # TensorBoard's thread ends by its error
    trainer, console = tiny_trainer(), Console(quiet=True)
    config = dataclasses.replace(trainer.config, steps=1)
    start(SNGAN, config, tmp_path, resume=False, console=console)
    before = (tmp_path / "config.yaml").read_bytes()
    go_on = dataclasses.replace(config, steps=60, log_every=1, checkpoint_every=100, sample_every=0)
    if named == "samples":
        monkeypatch.setattr(images, "to_uint8", lambda x: torch.randint(0, 256, x.shape, dtype=torch.uint8))
        go_on = dataclasses.replace(go_on, sample_every=1)
        monkeypatch.setattr(report.Reporter, "scalars", lambda *_: None)
    with _largest_file(largest), pytest.raises(OSError) as error:
        start(SNGAN, go_on, tmp_path, resume=True, console=console)
    good = tmp_path / "checkpoints" / "step-00000001.safetensors"
    assert str(error.value).startswith(f"{tmp_path / named}") and "cannot be written (" in str(error.value)
    assert str(error.value).endswith(f"; the last good checkpoint is {good}")
    assert not list(tmp_path.rglob("*.tmp"))
    if named == "config.yaml":
        assert (tmp_path / "config.yaml").read_bytes() == before


def test_a_disk_that_is_full_from_the_start_leaves_an_empty_folder(tmp_path: Path) -> None:
    with (
        _largest_file(100),
        pytest.raises(OSError, match=r"config\.yaml: cannot be written .*there is no checkpoint yet$"),
    ):
        start(SNGAN, tiny_trainer().config, tmp_path, resume=False, console=Console(quiet=True))
    assert not list(tmp_path.iterdir())


@contextmanager
def _not_root() -> Iterator[None]:
    """Root may write anywhere."""
    root = os.geteuid() == 0
    if root:
        os.seteuid(65534)
    try:
        yield
    finally:
        if root:
            os.seteuid(0)


def test_read_only_folder_leaves_the_last_checkpoint() -> None:
    trainer = tiny_trainer()
    trainer.update()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "checkpoints"
        trainer.save(folder)
        path = checkpoint.latest(folder)
        assert path is not None
        before = path.read_bytes()
        trainer.update()
        os.chmod(name, 0o755)
        os.chmod(folder, 0o555)
        with _not_root(), pytest.raises(OSError, match=r"step-00000002\.\w+: cannot be written \(.*ermission denied"):
            trainer.save(folder)
        os.chmod(folder, 0o755)
        _assert_intact(path, before)


@pytest.mark.parametrize("name", [name for name in ("sngan", "progan") if name in recipe_names()])
def test_killed_twenty_times_nothing_is_lost(tmp_path: Path, name: str) -> None:
    """Killed at random moments, each time resumed; at the end, the bits of a run that was left alone."""
    result = run_python(str(Path(__file__).with_name("killed_often.py")), name, str(tmp_path), "20")
    kills = [json.loads(line) for line in result.stdout.splitlines() if line.startswith("{")]
    assert len(kills) == 20
    latest = [kill["latest"] for kill in kills]
    assert latest == sorted(latest)
    assert latest[-1] >= 5, "too few steps were taken to lose any"
    whole, pieces = (checkpoint.latest(tmp_path / run / "checkpoints") for run in ("whole", "pieces"))
    assert whole is not None and pieces is not None and whole.name == pieces.name
    (expected, meta), (found, meta_found) = checkpoint.load(whole), checkpoint.load(pieces)
    assert meta == meta_found and found.keys() == expected.keys()
    assert [key for key in found if not torch.equal(found[key], expected[key])] == []


def _free_port() -> int:
    with socket.socket() as own:
        own.bind(("localhost", 0))
        return own.getsockname()[1]


def _kill_family(process: subprocess.Popen[str]) -> None:
    """A node dies: its agent first, so that it tells nobody, then what it started."""
    tree = [int(pid) for pid in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()]
    for pid in (process.pid, *tree):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    process.wait()


def test_lost_node_stops_the_job_which_resumes(tmp_path: Path) -> None:
    """Two nodes over loopback; the second is killed, the first says so and ends, and both go on afterwards."""
    out = tmp_path / "run"
    rendezvous = (f"--rdzv_endpoint=localhost:{_free_port()}", "--rdzv_backend=c10d", "--rdzv_id=1")
    torchrun = ("-m", "torch.distributed.run", "--nnodes=2", "--nproc_per_node=1", *rendezvous)
    command = ("-m", "fastgan", "train", "sngan", "--out", str(out), *flags(steps=100_000, log_every=1))
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parents[2])}
    files = [(tmp_path / f"node{i}").open("w+") for i in range(2)]
    nodes = [
        subprocess.Popen([sys.executable, *torchrun, *command], stdout=file, stderr=file, env=environment, text=True)
        for file in files
    ]
    try:
        deadline = time.monotonic() + 180
        while checkpoint.latest(out / "checkpoints") is None:
            assert time.monotonic() < deadline and all(node.poll() is None for node in nodes), files[0].read()
            time.sleep(0.1)
        _kill_family(nodes[1])
        # The rest of the job ends by itself.
        status = nodes[0].wait(timeout=120)
    finally:
        for node in nodes:
            if node.poll() is None:
                _kill_family(node)
    files[0].seek(0)
    message = files[0].read()
    path = checkpoint.latest(out / "checkpoints")
    assert path is not None
    step = checkpoint.load(path)[1]["step"]
    assert status != 0
    error = message[message.index("Error: process ") :].replace("\n", "")
    assert "of 2 has lost another one, which has ended or cannot be reached" in error
    assert f"start all processes again: --resume starts from {path}" in error
    assert "Traceback" not in message[: message.index("Error: process ")]
    run_python("-m", "fastgan", "train", "sngan", "--out", str(out), "--resume", "--steps", str(step + 2))
    assert checkpoint.load(out / "checkpoints" / f"step-{step + 2:08d}.safetensors")[1]["world_size"] == 2
