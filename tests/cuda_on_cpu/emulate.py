"""Compiles csrc/cuda for the CPU with cuemu.h, and launches the kernels the way ``fastgan.ops.cuda_source`` does."""

from __future__ import annotations

import ctypes
import functools
import hashlib
import os
import platform
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

ROOT = Path(__file__).resolve().parents[2]
HEADER = Path(__file__).with_name("cuemu.h")
CACHE = ROOT / "build" / "cuda_on_cpu"
FLAGS = ["-std=c++20", "-O2", "-fPIC", "-fvisibility=hidden", "-fno-strict-aliasing", "-ffp-contract=off"]
FLAGS += ["-Wall", "-Wno-unknown-pragmas", "-Wno-maybe-uninitialized"]
ORDERS = (0, 1, 2, 3, 4, 5)  # of warps and blocks: forward, reverse, and random ones

compiler = shutil.which("g++")
needs_emulation = pytest.mark.skipif(
    platform.system() != "Linux" or platform.machine() != "x86_64" or compiler is None,
    reason=f"the emulation switches fibers in x86-64 assembly on Linux and needs g++; this is {platform.platform()}",
)


class KernelError(RuntimeError):
    """What the emulation found wrong: a deadlock, an invalid access, a misused collective."""


def _run(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stderr}"
    return done.stdout


@functools.cache
def build(source: Path) -> Kernels:
    """The kernels of a ``.cu`` file, compiled where that was not done before."""
    assert compiler is not None
    files = [source, HEADER, *sorted((ROOT / "csrc").glob("c[ou]*/*.h"))]
    key = hashlib.sha256(repr(FLAGS).encode())
    for file in files:
        key.update(file.read_bytes())
    library = CACHE / f"{source.stem}-{key.hexdigest()[:16]}.so"
    arguments = [*FLAGS, "-include", str(HEADER), "-x", "c++"]
    if not library.is_file():
        # Macros may make kernels, so their names are looked for behind the preprocessor.
        text = _run(compiler, *arguments, "-D__global__=__global__", "-E", "-P", str(source))
        names = re.findall(r'extern "C" __global__ void\s+(\w+)\(', text)
        assert names, f"no kernel in {source}"
        CACHE.mkdir(parents=True, exist_ok=True)
        entries = CACHE / f"{library.stem}.{os.getpid()}.cpp"
        exports = "".join(f"CUEMU_EXPORT({name})\n" for name in names)
        entries.write_text(f'#include "{source}"\n#pragma GCC visibility push(default)\n{exports}')
        unfinished = entries.with_suffix(".so")
        _run(compiler, *arguments, "-shared", str(entries), "-o", str(unfinished))
        entries.unlink()
        unfinished.replace(library)
    return Kernels(library)


class Kernels:
    """The compiled kernels of one file."""

    def __init__(self, library: Path) -> None:
        self._library = ctypes.CDLL(str(library))
        self.launches: list[str] = []  # the names, in the order of their launches

    def signature(self, name: str) -> list[str]:
        """Kind (p, i, f, V for a struct) and size of each parameter."""
        function = getattr(self._library, f"cuemu_signature_{name}")
        function.restype = ctypes.c_char_p
        return function().decode().split()

    def launch(
        self,
        name: str,
        grid: tuple[int, ...],
        block: tuple[int, ...],
        args: tuple[Any, ...],
        shared_mem: int = 0,
        order: int = 0,
        blocks: range | None = None,
    ) -> None:
        """Run a kernel, or only those of its blocks whose linear index lies in `blocks`."""
        # The GPU would read whatever bytes it is given: each argument must be exactly what the kernel declares.
        expected, given = self.signature(name), [_kind(arg) for arg in args]
        assert given == expected, f"{name} takes {expected}, was given {given}"
        values = [np.int64(arg) if type(arg) is int else arg for arg in args]
        memory = [ctypes.create_string_buffer(value.tobytes()) for value in values]
        addresses = (ctypes.c_void_p * len(memory))(*(ctypes.addressof(m) for m in memory))
        dimensions = [(ctypes.c_uint * 3)(*(*size, 1, 1)[:3]) for size in (grid, block)]
        blocks = range(int(np.prod(grid, dtype=np.int64))) if blocks is None else blocks
        function = getattr(self._library, f"cuemu_launch_{name}")
        function.restype = ctypes.c_char_p
        os.environ["CUEMU_ORDER"] = str(order)
        self.launches.append(name)
        error = function(
            *dimensions,
            ctypes.c_size_t(shared_mem),
            ctypes.c_int64(blocks.start),
            ctypes.c_int64(blocks.stop),
            addresses,
        )
        if error:
            raise KernelError(error.decode())


def _kind(arg: Any) -> str:
    if type(arg) is int:  # CuPy passes an int as eight bytes; the launchers use ints for addresses only
        return "p8"
    # CuPy hands the driver the memory of an array of one element, and refuses longer ones.
    structure = isinstance(arg, np.ndarray) and arg.size == 1 and arg.dtype.kind == "V"
    assert structure or isinstance(arg, np.generic), f"CuPy takes numbers as NumPy scalars, got {arg!r}"
    return f"{arg.dtype.kind}{arg.dtype.itemsize}"


def emulated(kernels: Kernels, order: int = 0) -> Callable[..., Callable[..., None]]:
    """A stand-in for ``cuda_source.function``."""

    def function(op: str, name: str, device: torch.device) -> Callable[..., None]:
        def launch(grid: tuple[int, ...], block: tuple[int, ...], args: tuple[Any, ...], shared_mem: int = 0) -> None:
            kernels.launch(name, grid, block, args, shared_mem, order)

        return launch

    return function
