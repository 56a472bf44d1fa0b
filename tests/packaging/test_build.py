"""What sdist and wheels contain, with and without a compiler."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from fastgan.ops import native

from .environments import ROOT, attempt, build_wheel

pytestmark = pytest.mark.packaging

# The C and C++ runtimes that every Linux has. Neither torch nor an OpenMP runtime is among them.
SYSTEM = re.compile(r"(libc|libm|libgcc_s|libpthread|libdl|ld-linux[\w-]*|libstdc\+\+)\.so\.\d+")


def names(wheel: Path) -> list[str]:
    return zipfile.ZipFile(wheel).namelist()


@pytest.fixture
def no_compiler(tmp_path: Path) -> str:
    """A PATH on which nothing but Python is found."""
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "python").symlink_to(sys.executable)
    return str(folder)


def test_wheel_is_complete(wheel: Path) -> None:
    inside = names(wheel)
    python = [path.relative_to(ROOT).as_posix() for path in (ROOT / "fastgan").rglob("*.py")]
    python += [f"fastgan_bench/{path.relative_to(ROOT / 'benchmarks')}" for path in (ROOT / "benchmarks").rglob("*.py")]
    sources = [
        f"fastgan/{path.relative_to(ROOT)}" for part in ("common", "cuda") for path in ROOT.glob(f"csrc/{part}/*")
    ]
    assert set(python + sources) <= set(inside)
    levels = {match[1] for name in inside if (match := re.fullmatch(r"fastgan/_native_(\w+)\.cpython.*\.so", name))}
    assert set(native.extension().supported_levels()) <= levels
    if shutil.which("nvcc"):
        assert {f"fastgan/_cuda/{path.stem}.fatbin" for path in ROOT.glob("csrc/cuda/*.cu")} <= set(inside)


@pytest.mark.skipif(shutil.which("readelf") is None, reason="readelf is not installed")
def test_modules_need_neither_torch_nor_openmp(unpacked: Path) -> None:
    modules = list(unpacked.glob("fastgan/_native_*.so"))
    assert modules
    for module in modules:
        dynamic = subprocess.run(["readelf", "-d", module], check=True, capture_output=True, text=True).stdout
        needed = re.findall(r"\(NEEDED\).*\[(.+)\]", dynamic)
        assert needed and all(SYSTEM.fullmatch(name) for name in needed), (module.name, needed)


@pytest.mark.skipif(shutil.which("nm") is None, reason="nm is not installed")
def test_modules_of_two_levels_share_no_symbol(unpacked: Path) -> None:
    for module in unpacked.glob("fastgan/_native_*.so"):
        command = ["nm", "--dynamic", "--defined-only", "--format=posix", module]
        defined = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        assert [line.split()[0] for line in defined.splitlines()] == [f"PyInit_{module.name.partition('.')[0]}"]


def test_pure_python_wheel(pure_wheel: Path) -> None:
    assert pure_wheel.name.endswith("-py3-none-any.whl")
    assert not [name for name in names(pure_wheel) if name.endswith(".so") or "/_cuda/" in name]
    assert "fastgan/csrc/cuda/bias_act.cu" in names(pure_wheel)


def test_without_a_compiler_the_wheel_is_pure_python_and_the_build_says_so(
    sdist: Path, tmp_path: Path, no_compiler: str
) -> None:
    wheel, log = build_wheel(sdist, tmp_path, PATH=no_compiler)
    assert wheel.name.endswith("-py3-none-any.whl")
    assert "no C++20 compiler" in log and "building the pure-Python package" in log


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        ("require", "FASTGAN_NATIVE=require, and there is no C++20 compiler"),
        ("yes", "FASTGAN_NATIVE must be auto, require or 0, got 'yes'"),
    ],
)
def test_a_build_that_cannot_be_as_asked_fails(
    sdist: Path, tmp_path: Path, no_compiler: str, choice: str, message: str
) -> None:
    command = (sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "-w", tmp_path, sdist)
    done = attempt(*command, cwd=tmp_path, PATH=no_compiler, FASTGAN_NATIVE=choice)
    assert done.returncode != 0 and message in done.stdout
    assert not list(tmp_path.glob("*.whl"))
