"""The only place that chooses a backend.

Every op has one table: for each backend, the module that implements it, and the order in which
tensors try them. The choice depends on the tensor's device type, its dtype and on nothing else,
so it is made once per combination and remembered.
"""

from __future__ import annotations

import functools
import importlib
import logging
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Any

import torch

__all__ = ["BACKENDS", "OpTable", "current_backend", "tables", "use_backend"]

BACKENDS = ("cpu", "triton", "cuda", "reference")

logger = logging.getLogger("fastgan")
_tables: dict[str, OpTable] = {}
# Thread-local rather than a ContextVar: torch.compile can trace and guard the former, not the latter.
_forced = threading.local()


@functools.cache
def _log_once(message: str) -> None:
    logger.warning(message)


def current_backend() -> str | None:
    """Name of the backend forced by :class:`use_backend` in this thread, or None."""
    return getattr(_forced, "name", None)


class use_backend:  # a context manager, named like torch.no_grad
    """Force one backend for every fastgan op called in the block; never falls back.

    The choice is read where an op's forward is called and travels with it to the backward, so a
    ``backward()`` outside the block uses the same backend.

    Parameters
    ----------
    name : str
        One of ``"cpu"``, ``"triton"``, ``"cuda"``, ``"reference"``.

    Raises
    ------
    ValueError
        For an unknown name.
    RuntimeError
        When entered inside a ``torch.compile`` region (enter it outside, around the call), or, by
        the op itself, where the backend cannot serve a tensor.
    """

    def __init__(self, name: str) -> None:
        if name not in BACKENDS:
            raise ValueError(f"use_backend: name must be one of {', '.join(BACKENDS)}, got {name!r}")
        self._name = name

    def __enter__(self) -> None:
        if torch.compiler.is_compiling():
            raise RuntimeError("use_backend: cannot be entered inside a torch.compile region; enter it around the call")
        _forced.outer = (*getattr(_forced, "outer", ()), current_backend())  # of this thread, like the choice
        _forced.name = self._name

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        *_forced.outer, _forced.name = _forced.outer


class OpTable:
    """The backends of one op: ``fastgan.ops.<op>.<backend>``, imported when first needed.

    A backend module defines ``unsupported_reason(device_type, dtype)`` (None where it can serve such
    tensors, otherwise why not) and one function for each of the op's schemas, named like it.

    Parameters
    ----------
    op : str
        The op's folder under ``fastgan/ops``.
    backends : tuple of str
        The backends that exist, in the order in which tensors try them. ``reference`` is last.
    """

    def __init__(self, op: str, backends: tuple[str, ...]) -> None:
        assert backends[-1] == "reference" and set(backends) <= set(BACKENDS)
        self.op = op
        self.backends = backends
        self._launchers: dict[tuple[str, str | None, str, torch.dtype], Callable[..., Any]] = {}
        _tables[op] = self

    def module(self, backend: str) -> Any:
        return importlib.import_module(f"fastgan.ops.{self.op}.{backend}")

    def unsupported_reason(self, backend: str, device_type: str, dtype: torch.dtype) -> str | None:
        """Why `backend` cannot serve such tensors, or None where it can."""
        if backend not in self.backends:
            return f"{self.op} has no {backend} backend"
        return self.module(backend).unsupported_reason(device_type, dtype)

    def choose(self, backend: str | None, device_type: str, dtype: torch.dtype, quiet: bool = False) -> str:
        """The backend that serves such tensors; `backend` forces one, and raises where it cannot.

        A fallback to the reference is logged, once for each reason, unless `quiet`.
        """
        if backend is not None:
            reason = self.unsupported_reason(backend, device_type, dtype)
            if reason is not None:
                raise RuntimeError(f"{self.op}: backend {backend!r} was asked for and cannot serve: {reason}")
            return backend
        reasons = {}
        for name in self.backends:
            reason = self.unsupported_reason(name, device_type, dtype)
            if reason is None:
                break
            reasons[name] = reason
        # A backend that is for another device is no fallback, and nothing to report.
        missed = {k: v for k, v in reasons.items() if device_type in DEVICES_OF[k]}
        if name == "reference" and missed and not quiet:
            why = "; ".join(f"{k}: {v}" for k, v in missed.items())
            _log_once(f"{self.op}: falling back to the reference for {device_type} tensors ({why})")
        return name

    def launcher(self, schema: str, backend: str | None, device_type: str, dtype: torch.dtype) -> Callable[..., Any]:
        """The function that computes `schema` for such tensors."""
        key = (schema, backend, device_type, dtype)
        found = self._launchers.get(key)
        if found is None:
            module = self.module(self.choose(backend, device_type, dtype))
            found = self._launchers[key] = getattr(module, schema)
        return found


#: The device types each backend is written for.
DEVICES_OF = {"cpu": ("cpu",), "triton": ("cuda",), "cuda": ("cuda",), "reference": ()}


def tables() -> dict[str, OpTable]:
    """Every op's table by name, all ops imported."""
    importlib.import_module("fastgan.ops")
    return dict(_tables)
