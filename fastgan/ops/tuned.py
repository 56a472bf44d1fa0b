"""The forms that ``fastgan tune`` found fastest on the user's GPU, read from a file once, when first asked for."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import warnings
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor

__all__ = ["FORMS", "Table", "default_path", "describe", "forcing", "form_for", "load"]

#: Of each op, the forms that a table may choose.
FORMS = {"upsample_conv2d": ("stock", "quarter", "fused", "phase"), "conv2d_avg_pool2d": ("stock", "quarter")}

#: GPU's name → op → :func:`describe` → form.
Table = dict[str, dict[str, dict[str, str]]]

_forced: str | None = None  # of all threads: the backward runs in autograd's


def default_path() -> Path:
    """Where ``fastgan tune`` saves its table: in ``$XDG_CACHE_HOME``, else in ``~/.cache``."""
    cache = os.environ.get("XDG_CACHE_HOME")
    return (Path(cache) if cache else Path.home() / ".cache") / "fastgan" / "tuned.json"


def describe(input: Tensor, weight: Tensor) -> str:
    """What a form is chosen by: dtype, channels, and the input's height and width."""
    (c_out, c_in), (height, width) = weight.shape[:2], input.shape[2:]
    return f"{str(input.dtype).removeprefix('torch.')} {c_in}->{c_out} {height}x{width}"


def load(path: Path) -> Table:
    """The table in a file.

    Raises
    ------
    OSError
        Where the file cannot be read.
    ValueError
        Where it holds something else, naming what.
    """
    try:
        table = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is no JSON: {error}") from None
    if not isinstance(table, dict):
        raise ValueError(f"{path} must hold an object by GPU name, got {type(table).__name__}")
    for gpu, ops in table.items():
        if not isinstance(ops, dict) or not all(op in FORMS and isinstance(found, dict) for op, found in ops.items()):
            raise ValueError(f"{path}: the entry of {gpu!r} must be an object by op ({', '.join(FORMS)})")
        for op, found in ops.items():
            for layer, form in found.items():
                if form not in FORMS[op]:
                    raise ValueError(f"{path}: {op} {layer!r} must be one of {', '.join(FORMS[op])}, got {form!r}")
    return table


@functools.cache
def _saved() -> Table:
    path = default_path()
    try:
        return load(path)
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        warnings.warn(f"fastgan: the tuned table is not used: {error}; `fastgan tune` writes a new one", stacklevel=2)
        return {}


@functools.cache
def _gpu_name(index: int) -> str:
    return torch.cuda.get_device_name(index)


@contextlib.contextmanager
def forcing(form: str) -> Iterator[None]:
    """Use `form` for every layer that a table could choose a form for, in all threads."""
    global _forced
    outer, _forced = _forced, form
    try:
        yield
    finally:
        _forced = outer


def form_for(op: str, input: Tensor, weight: Tensor) -> str | None:
    """The tuned form of `op` for such a layer on the GPU that has `input`; None where there is none."""
    if _forced is not None:
        return _forced
    if input.device.type != "cuda":
        return None
    layers = _saved().get(_gpu_name(input.device.index), {}).get(op)
    return None if layers is None else layers.get(describe(input, weight))
