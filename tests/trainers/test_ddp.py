"""Two processes on the CPU (gloo)."""

from __future__ import annotations

from pathlib import Path

from .runs import flags, run_python


def test_replicas_stay_equal(tmp_path: Path) -> None:
    script = str(Path(__file__).with_name("ddp_run.py"))
    result = run_python("-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2", script, str(tmp_path))
    assert "process 0 agrees" in result.stdout and "process 1 agrees" in result.stdout


def test_command_line_starts_the_processes(tmp_path: Path) -> None:
    out = tmp_path / "run"
    run_python("-m", "fastgan", "train", "sngan", "--out", str(out), *flags(processes=2, steps=2))
    assert [path.name for path in (out / "checkpoints").iterdir()] == ["step-00000002.safetensors"]
