"""Checkpoint files: one safetensors file each, written whole or not at all, read without unpickling anything."""

from __future__ import annotations

import json
import os
import re
import zlib
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

__all__ = ["CheckpointError", "latest", "load", "save"]

_KEY = "fastgan"
_CHECKSUM = "checksum"
_NAME = re.compile(r"step-(\d+)\.safetensors")


class CheckpointError(RuntimeError):
    """A checkpoint that is corrupt, foreign or of another run; the file was left as it was."""


def _checksum(text: str, tensors: dict[str, Tensor]) -> str:
    """CRC-32 of the metadata's text and of each tensor's name, type, shape and bytes, in the order of the names."""
    checksum = zlib.crc32(text.encode())
    for name, tensor in sorted(tensors.items()):
        checksum = zlib.crc32(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode(), checksum)
        checksum = zlib.crc32(tensor.reshape(-1).view(torch.uint8).numpy().data, checksum)
    return f"{checksum:08x}"


def _steps(folder: Path) -> dict[int, Path]:
    found = {int(m[1]): path for path in folder.glob("*") if (m := _NAME.fullmatch(path.name))}
    return dict(sorted(found.items()))


def latest(folder: Path) -> Path | None:
    """The checkpoint of the highest step in ``folder``, None where there is none."""
    return next(reversed(_steps(folder).values()), None)


def save(folder: Path, step: int, tensors: dict[str, Tensor], meta: dict[str, Any], keep: int) -> Path:
    """Write a checkpoint, then delete all but the newest ``keep``.

    The file gets its name by a rename, after its bytes have reached the disk: a process or machine that dies at any
    moment leaves either the old checkpoints or those and the new one.

    Parameters
    ----------
    folder : Path
        Made where it does not exist.
    step : int
        Names the file.
    tensors : dict of Tensor
        Any device and layout; stored contiguous.
    meta : dict
        Anything that JSON can hold.
    keep : int
        How many checkpoints stay, at least 1.

    Raises
    ------
    OSError
        If the file cannot be written; the older checkpoints stay.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for leftover in folder.glob("*.tmp"):
        leftover.unlink()
    stored = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    text = json.dumps(meta | {"step": step})
    path = folder / f"step-{step:08d}.safetensors"
    temporary = path.with_suffix(".tmp")
    try:
        save_file(stored, temporary, {_KEY: text, _CHECKSUM: _checksum(text, stored)})
        _sync(temporary)
    except (OSError, SafetensorError) as error:  # a full disk, for one
        temporary.unlink(missing_ok=True)
        raise OSError(f"{path}: cannot be written ({error})") from error
    os.replace(temporary, path)
    _sync(folder)
    for old in list(_steps(folder).values())[:-keep]:
        old.unlink()
    return path


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def load(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read a checkpoint into CPU tensors and its metadata.

    Raises
    ------
    CheckpointError
        If the file cannot be read, was not written by ``save``, or its bytes have changed since. The message names an
        older checkpoint beside it that is good, where there is one.
    """
    try:
        return _read(path)
    except CheckpointError as error:
        older = [p for p in reversed(_steps(path.parent).values()) if p.name < path.name]
        good = next((p for p in older if _is_good(p)), None)
        advice = "" if good is None else f"; {good} is good: rename or remove {path.name} to continue from there"
        raise CheckpointError(f"{error}{advice}") from error


def _is_good(path: Path) -> bool:
    try:
        _read(path)
    except CheckpointError:
        return False
    return True


def _read(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a mapping)
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"{path}: corrupt, or not a safetensors file ({error})") from error
    if _KEY not in metadata:
        raise CheckpointError(f"{path}: a safetensors file, but not a checkpoint of fastgan")
    if metadata.get(_CHECKSUM) != _checksum(metadata[_KEY], tensors):
        raise CheckpointError(f"{path}: corrupt, its content does not match its checksum")
    return tensors, json.loads(metadata[_KEY])
