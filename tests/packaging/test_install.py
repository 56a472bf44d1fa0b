"""What an installed wheel does, outside the checkout."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest

from .environments import ROOT, make_environment, run

pytestmark = pytest.mark.packaging

# bias_act by whatever backend serves, against torch; then why there is no extension.
USE = """
import torch, fastgan
from fastgan.functional import bias_act
from fastgan.ops import native
x, b = torch.randn(2, 3, 4), torch.randn(3)
for _ in range(2):
    y = bias_act(x, b, act="lrelu", gain=1.0)
torch.testing.assert_close(y, torch.nn.functional.leaky_relu(x + b[:, None], 0.2))
print("reason:", native.unavailable_reason())
"""
FALLBACK = "bias_act: falling back to the reference for cpu tensors"


def test_native_extension_loads(python: Path, tmp_path: Path) -> None:
    output = run(python, "-c", USE + "print(fastgan.__file__)", cwd=tmp_path)
    assert "reason: None" in output and FALLBACK not in output
    assert str(python.parent.parent) in output


def test_three_steps_of_training(python: Path, tmp_path: Path) -> None:
    settings = ["--data", "digits", "--preset", "small", "--steps", "3", "--batch-size", "8", "--device", "cpu"]
    settings += ["--set", "metric_every=3", "--set", "metric_samples=64"]
    output = run(python.parent / "fastgan", "train", "sngan", *settings, "--out", "run", cwd=tmp_path)
    assert "run: 3 steps done" in output
    run(python, "-m", "fastgan", "sample", "run", "--n", "4", "--out", "four.png", cwd=tmp_path)
    assert (tmp_path / "four.png").read_bytes().startswith(b"\x89PNG")


def test_command_line(python: Path, tmp_path: Path) -> None:
    for command in ([python.parent / "fastgan"], [python, "-m", "fastgan"]):
        shown = run(*command, "--help", cwd=tmp_path)
        assert all(name in shown for name in ("train", "sample", "doctor", "bench"))
    assert "bias_act" in run(python, "-m", "fastgan", "doctor", cwd=tmp_path)


def test_pure_python_wheel_works_and_says_once_what_is_missing(pure_wheel: Path, tmp_path: Path) -> None:
    python = make_environment(tmp_path / "venv", pure_wheel)
    output = run(python, "-c", USE, cwd=tmp_path)
    assert "reason: the CPU extension was not built" in output
    assert output.count(FALLBACK) == 1
    # The base package has what its command line needs, and says what training needs.
    assert "train" in run(python.parent / "fastgan", "--help", cwd=tmp_path)


@pytest.mark.parametrize(
    "content", [b"not a shared library" * 1000, b"\x7fELF\x02\x01\x01", b""], ids=["text", "cut", "empty"]
)
def test_a_broken_extension_is_named_and_the_reference_serves(python: Path, tmp_path: Path, content: bytes) -> None:
    where = run(python, "-c", "import fastgan; print(*fastgan.__path__)", cwd=tmp_path).strip()
    copy = tmp_path / "fastgan"
    shutil.copytree(where, copy)
    for module in copy.glob("_native_*"):
        module.write_bytes(content)
    output = run(python, "-c", USE, cwd=tmp_path, PYTHONPATH=str(tmp_path))
    assert "reason: the CPU extension does not load: " in output and f"{copy}/_native_" in output
    assert "reinstall" in output
    assert output.count(FALLBACK) == 1


def test_import_loads_neither_triton_nor_cupy() -> None:
    code = "import sys, fastgan, fastgan.nn, fastgan.functional; print('loaded', {'triton', 'cupy'} & set(sys.modules))"
    assert "loaded set()" in run(sys.executable, "-c", code, cwd=ROOT)
