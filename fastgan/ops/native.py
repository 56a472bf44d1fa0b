"""The only place that loads the compiled CPU extension; remembers why it failed.

The extension is built once per ISA level, as ``fastgan._native_v2``, ``_v3``, ``_v4`` on x86-64 and
``_native_base`` elsewhere. FASTGAN_CPU_ISA forces one of them.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import importlib
import os
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

import torch  # also loads the OpenMP runtime that the extension's threads run on

__all__ = ["DTYPE_CODES", "extension", "isa_level", "unavailable_reason"]

#: The DType enumeration of csrc/cpu.
DTYPE_CODES = {torch.float32: 0, torch.float64: 1, torch.float16: 2, torch.bfloat16: 3}
HINT = "reinstall with FASTGAN_NATIVE=require to see why it was not built"


class _Loaded(NamedTuple):
    module: ModuleType | None
    level: str | None
    reason: str | None


def _import(level: str) -> ModuleType:
    name = f"fastgan._native_{level}"
    try:
        return importlib.import_module(name)
    except ImportError as error:
        if "GOMP_" not in str(error):
            raise
        # This build of torch brought no GNU OpenMP runtime with it: load the system's, visible to the extension.
        with contextlib.suppress(OSError):
            ctypes.CDLL("libgomp.so.1", mode=ctypes.RTLD_GLOBAL)
        return importlib.import_module(name)


@functools.cache
def _load() -> _Loaded:
    forced = os.environ.get("FASTGAN_CPU_ISA")
    built = sorted(path.name for path in Path(__file__).parent.parent.glob("_native_*"))
    if not built:
        return _Loaded(None, None, f"the CPU extension was not built ({HINT})")
    try:
        baseline = _import("v2" if any("_native_v2" in name for name in built) else "base")
        supported = baseline.supported_levels()
        if forced is not None and forced not in supported:
            return _Loaded(None, None, f"FASTGAN_CPU_ISA={forced}, but this machine runs {', '.join(supported)} only")
        level = forced or supported[0]
        return _Loaded(_import(level), level, None)
    except ImportError as error:
        return _Loaded(None, None, f"the CPU extension does not load: {error} ({HINT})")


def unavailable_reason() -> str | None:
    """Why there is no extension, or None where there is one."""
    return _load().reason


def isa_level() -> str | None:
    """The ISA level of the loaded extension: v2, v3, v4 or base; None without an extension."""
    return _load().level


def extension() -> ModuleType:
    """The extension; ImportError, with the reason, where there is none."""
    loaded = _load()
    if loaded.module is None:
        raise ImportError(loaded.reason)
    return loaded.module
