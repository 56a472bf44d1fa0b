"""The only place that loads csrc/cuda, through CuPy: a fatbin that the package brought along, else NVRTC.

A fatbin ``fastgan/_cuda/<op>.fatbin`` is there where nvcc was when the package was built. Where there is
none, or none for this GPU, the source is compiled once for the GPU's architecture and kept under
``$XDG_CACHE_HOME/fastgan`` (default ``~/.cache/fastgan``), named by all it depends on.
"""

from __future__ import annotations

import functools
import hashlib
import importlib
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

__all__ = [
    "compile_nvrtc",
    "current_stream",
    "function",
    "multiprocessors",
    "shared_memory",
    "source_folder",
    "unavailable_reason",
]

PACKAGE = Path(__file__).resolve().parent.parent
# CuPy would add -ftz=true to options of its own, and then a subnormal input of leaky ReLU changes sides.
NVRTC_OPTIONS = ("-std=c++17", "--device-as-default-execution-space")
#: Bytes of shared memory that a launch may ask for as it is; more a kernel has to be allowed to.
UNASKED_SHARED = 48 * 1024

Launch = Callable[..., None]


def source_folder() -> Path | None:
    """The csrc folder: inside an installed package, beside the package in a checkout; None where it is missing."""
    for folder in (PACKAGE / "csrc", PACKAGE.parent / "csrc"):
        if (folder / "cuda").is_dir():
            return folder
    return None


def compile_nvrtc(source: Path, architecture: str) -> bytes:
    """Compile a ``.cu`` file to a cubin. Needs no GPU.

    Parameters
    ----------
    source : Path
        The file; its includes are found relative to it.
    architecture : str
        For example ``"sm_90"``.

    Raises
    ------
    RuntimeError
        With the compiler's log, where the file does not compile.
    """
    nvrtc = importlib.import_module("cupy").cuda.nvrtc
    program = nvrtc.createProgram(source.read_text(), str(source), (), ())
    try:
        nvrtc.compileProgram(program, (*NVRTC_OPTIONS, f"-I{source.parent}", f"-arch={architecture}"))
        # CuPy (14.2 at least) cuts the last byte off, as if it ended a string. In memory Python's own zero stands in
        # for it; in a file it is missed. One zero too many would do no harm.
        return bytes(nvrtc.getCUBIN(program)) + b"\0"
    except nvrtc.NVRTCError as error:
        log = nvrtc.getProgramLog(program)
        raise RuntimeError(f"NVRTC cannot compile {source} for {architecture}:\n{log}") from error
    finally:
        nvrtc.destroyProgram(program)


def _cached_cubin(op: str, architecture: str) -> Path:
    """The path of `op`'s cubin in the cache, compiled where it is not there yet."""
    folder = source_folder()
    if folder is None:
        raise RuntimeError(f"csrc/cuda is missing from {PACKAGE}")
    source = folder / "cuda" / f"{op}.cu"
    version = importlib.import_module("cupy").cuda.nvrtc.getVersion()
    key = hashlib.sha256(repr((version, architecture, NVRTC_OPTIONS)).encode())
    for part in (source, *sorted(folder.glob("cuda/*.h")), *sorted(folder.glob("common/*.h"))):
        key.update(part.read_bytes())
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "fastgan"
    path = cache / f"{op}-{architecture}-{key.hexdigest()[:24]}.cubin"
    if not path.is_file():
        cubin = compile_nvrtc(source, architecture)
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=cache, delete=False) as file:
            file.write(cubin)
        os.replace(file.name, path)  # whole or not at all, whoever else compiles it now
    return path


def _load_module(op: str, device: int) -> Any:
    """`op`'s kernels for a device, which must be the current one, as a ``cupy.RawModule``."""
    cupy = importlib.import_module("cupy")
    fatbin = PACKAGE / "_cuda" / f"{op}.fatbin"
    if fatbin.is_file():
        module = cupy.RawModule(path=str(fatbin))
        try:
            module.compile()  # loads the file
            return module
        except cupy.cuda.driver.CUDADriverError:
            pass  # holds no code for this GPU
    major, minor = torch.cuda.get_device_capability(device)
    module = cupy.RawModule(path=str(_cached_cubin(op, f"sm_{major}{minor}")))
    module.compile()
    return module


@functools.cache
def _module(op: str, device: int) -> Any:
    with torch.cuda.device(device):
        return _load_module(op, device)


@functools.cache
def unavailable_reason(op: str) -> str | None:
    """Why the kernels of `op` cannot run on the current GPU, or None where they can; loads them to find out."""
    if torch.version.hip is not None:
        return "csrc/cuda is for NVIDIA GPUs, and this torch is a HIP build"
    if not torch.cuda.is_available():
        return "torch sees no CUDA device"
    try:
        importlib.import_module("cupy")
    except ImportError as error:
        return f"CuPy cannot be imported ({error}); pip install fastgan[cuda13], or fastgan[cuda12] for CUDA 12"
    try:
        _module(op, torch.cuda.current_device())
    except Exception as error:  # a driver, a compiler, a cache folder: whatever fails, another backend serves
        return f"the kernels do not load: {error}"
    return None


@functools.cache
def multiprocessors(device: torch.device) -> int:
    """The number of streaming multiprocessors of a CUDA device."""
    return int(torch.cuda.get_device_properties(device).multi_processor_count)


@functools.cache
def shared_memory(device: torch.device) -> int:
    """Bytes of shared memory that a block may have on a CUDA device, where the kernel is allowed to."""
    properties = torch.cuda.get_device_properties(device)
    return int(getattr(properties, "shared_memory_per_block_optin", UNASKED_SHARED))  # older torch does not tell


class _TorchStream:
    """A stream in the form that CuPy 14 takes from other libraries."""

    def __init__(self, pointer: int) -> None:
        self._pointer = pointer

    def __cuda_stream__(self) -> tuple[int, int]:
        return 0, self._pointer


@functools.lru_cache(maxsize=64)
def _stream(pointer: int, device: int) -> Any:
    cuda = importlib.import_module("cupy").cuda
    if hasattr(cuda.Stream, "from_external"):
        return cuda.Stream.from_external(_TorchStream(pointer))
    return cuda.ExternalStream(pointer, device)  # before CuPy 14; deprecated since


def current_stream(index: int) -> Any:
    """Torch's current stream of a device as CuPy's: a context manager, in which CuPy works on it."""
    return _stream(torch.cuda.current_stream(index).cuda_stream, index)


@functools.cache
def function(op: str, name: str, device: torch.device) -> Launch:
    """The kernel `name` of csrc/cuda/<op>.cu on a device.

    Returns
    -------
    callable
        ``launch(grid, block, args, shared_mem=0)`` starts the kernel on torch's current stream of the
        device. `grid` and `block` are tuples of ints, `args` holds addresses as ints and every other
        parameter as a NumPy scalar of its size.
    """
    index = torch.cuda.current_device() if device.index is None else device.index
    module = _module(op, index)
    with torch.cuda.device(index):
        kernel = module.get_function(name)
    allowed = UNASKED_SHARED

    def launch(grid: tuple[int, ...], block: tuple[int, ...], args: tuple[Any, ...], shared_mem: int = 0) -> None:
        nonlocal allowed
        if shared_mem > allowed:
            with torch.cuda.device(index):
                kernel.max_dynamic_shared_size_bytes = allowed = shared_mem
        with torch.cuda.device(index), current_stream(index):
            kernel(grid, block, args, shared_mem=shared_mem)

    return launch
