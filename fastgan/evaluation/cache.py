"""Features of real images, kept between evaluations; a file is whole or absent."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from fastgan.data.fetch import cache_folder

__all__ = ["digest", "load", "save", "weights_digest"]


def digest(tensor: Tensor) -> str:
    """SHA-256 of a tensor's type, shape and bytes."""
    return _hash({"": tensor})


def weights_digest(network: nn.Module) -> str:
    """SHA-256 of a network's parameters and buffers: names, types, shapes and bytes."""
    return _hash(network.state_dict())


def _hash(tensors: Mapping[str, Tensor]) -> str:
    found = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        found.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        found.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return found.hexdigest()


def _path(key: dict[str, Any]) -> Path:
    name = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()
    return cache_folder() / "evaluation" / f"{name[:32]}.safetensors"


def load(key: dict[str, Any]) -> Tensor | None:
    """Features [N, d] that ``save`` kept under ``key``; None where there are none, or the file is damaged."""
    try:
        with safe_open(_path(key), framework="pt") as file:
            if (file.metadata() or {}).get("key") != json.dumps(key, sort_keys=True):
                return None
            features = file.get_tensor("features")
    except (OSError, SafetensorError):
        return None
    return features if bool(features.isfinite().all()) else None


def save(key: dict[str, Any], features: Tensor) -> Path:
    """Keep ``features`` under ``key``, by a rename after the bytes have reached the disk.

    Raises
    ------
    OSError
        If the file cannot be written.
    """
    path = _path(key)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".saving-")
    os.close(handle)
    try:
        save_file({"features": features.contiguous()}, temporary, {"key": json.dumps(key, sort_keys=True)})
        with open(temporary, "rb") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except SafetensorError as error:  # a full disk, for one
        raise OSError(f"{path}: cannot be written ({error})") from error
    finally:
        Path(temporary).unlink(missing_ok=True)
    return path
