"""Builds the CPU extension with CMake where there is a C++ compiler, and a pure-Python package where there is none.

FASTGAN_NATIVE=auto (default) does that, =require fails without a compiler, =0 never builds the extension.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext
from setuptools.command.build_py import build_py

ROOT = Path(__file__).resolve().parent
PROBE = "#include <Python.h>\n#include <vector>\nint main() { return std::vector<int>(1).size() == 1 ? 0 : 1; }\n"


def compiler() -> list[str] | None:
    """The command of a C++ compiler that compiles and links C++20 with Python's headers, or None."""
    candidates = [shlex.split(os.environ["CXX"])] if os.environ.get("CXX") else [["c++"], ["g++"], ["clang++"]]
    for candidate in candidates:
        if not shutil.which(candidate[0]):
            continue
        with tempfile.TemporaryDirectory() as folder:
            source = Path(folder, "probe.cpp")
            source.write_text(PROBE)
            headers = [f"-I{sysconfig.get_path(name)}" for name in ("include", "platinclude")]
            command = [*candidate, "-std=c++20", *headers, str(source), "-o", str(Path(folder, "probe"))]
            if subprocess.run(command, capture_output=True).returncode == 0:
                return candidate
    return None


def wants_native() -> bool:
    """Whether to build the extension; says so where it is left out."""
    choice = os.environ.get("FASTGAN_NATIVE", "auto")
    if choice not in ("auto", "require", "0"):
        sys.exit(f"setup.py: FASTGAN_NATIVE must be auto, require or 0, got {choice!r}")
    if choice == "0":
        print("fastgan: FASTGAN_NATIVE=0, building the pure-Python package", file=sys.stderr)
        return False
    if compiler():
        return True
    missing = "no C++20 compiler (CXX, c++, g++, clang++) that finds Python.h"
    if choice == "require":
        sys.exit(f"setup.py: FASTGAN_NATIVE=require, and there is {missing}")
    print(f"fastgan: {missing}, building the pure-Python package: CPU ops will be slow", file=sys.stderr)
    return False


class CMakeBuild(build_ext):
    """One CMake run builds every ISA level; the extension list only tells setuptools where the result goes."""

    def run(self) -> None:
        package = Path(self.build_lib if not self.inplace else ROOT).resolve() / "fastgan"
        build = Path(self.build_temp).resolve() / "cmake"
        build.mkdir(parents=True, exist_ok=True)
        import pybind11

        configure = [
            "cmake", "-S", str(ROOT), "-B", str(build), f"-DPython_EXECUTABLE={sys.executable}",
            f"-Dpybind11_DIR={pybind11.get_cmake_dir()}", f"-DCMAKE_INSTALL_PREFIX={package}",
            "-DCMAKE_BUILD_TYPE=Release", *os.environ.get("CMAKE_ARGS", "").split(),
        ]  # fmt: skip
        if shutil.which("ninja"):
            configure += ["-G", "Ninja"]
        found = compiler()
        environment = {**os.environ, "CXX": shlex.join(found)} if found else None
        subprocess.run(configure, check=True, env=environment)
        subprocess.run(["cmake", "--build", str(build), "--target", "install", "--parallel"], check=True)

    def get_outputs(self) -> list[str]:
        package = Path(self.build_lib) / "fastgan"
        return [str(path) for path in [*package.glob("_native_*"), *package.glob("_cuda/*")]]


class BuildWithSources(build_py):
    """Ships csrc inside the package: CUDA kernels are compiled on the user's machine where no fatbin fits."""

    def run(self) -> None:
        super().run()
        if not self.editable_mode:
            for folder in ("common", "cuda"):
                target = Path(self.build_lib) / "fastgan" / "csrc" / folder
                shutil.copytree(ROOT / "csrc" / folder, target, dirs_exist_ok=True)


native = wants_native()
setup(
    packages=[
        "fastgan", *(f"fastgan.{path.relative_to(ROOT / 'fastgan').as_posix().replace('/', '.')}"
                     for path in sorted((ROOT / "fastgan").rglob("*"))
                     if (path / "__init__.py").is_file() and "csrc" not in path.parts),
        "fastgan_bench", "fastgan_bench.families", "fastgan_bench.systems",
    ],
    package_dir={"fastgan_bench": "benchmarks"},
    package_data={"fastgan": ["py.typed"]},
    ext_modules=[Extension("fastgan._native", sources=[])] if native else [],
    cmdclass={"build_ext": CMakeBuild, "build_py": BuildWithSources},
)  # fmt: skip
