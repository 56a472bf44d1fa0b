"""Everything a run must remember, as named tensors and JSON; put back bit for bit or not at all."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from .checkpoint import CheckpointError

__all__ = ["check_module", "load_optimizer", "module_tensors", "optimizer_state", "rng_state", "set_rng_state"]


def module_tensors(prefix: str, module: nn.Module) -> dict[str, Tensor]:
    """Parameters and buffers under ``prefix.``."""
    return {f"{prefix}.{name}": tensor for name, tensor in module.state_dict().items()}


def check_module(prefix: str, module: nn.Module, tensors: dict[str, Tensor], where: str) -> dict[str, Tensor]:
    """Return the module's part of ``tensors``; CheckpointError unless names, shapes and dtypes fit."""
    part = {name.removeprefix(f"{prefix}."): t for name, t in tensors.items() if name.startswith(f"{prefix}.")}
    expected = {name: (tuple(t.shape), t.dtype) for name, t in module.state_dict().items()}
    given = {name: (tuple(t.shape), t.dtype) for name, t in part.items()}
    for name in expected.keys() | given.keys():
        if expected.get(name) != given.get(name):
            raise CheckpointError(
                f"{where}: {prefix}.{name} does not fit this run, expected {expected.get(name, 'nothing')}, "
                f"got {given.get(name, 'nothing')}"
            )
    return part


def optimizer_state(prefix: str, optimizer: Optimizer) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Split an optimiser's state into tensors (under ``prefix.``) and what JSON can hold."""
    state = optimizer.state_dict()
    tensors: dict[str, Tensor] = {}
    numbers: dict[str, dict[str, Any]] = {}
    for index, entries in state["state"].items():
        for key, value in entries.items():
            if isinstance(value, Tensor):
                tensors[f"{prefix}.{index}.{key}"] = value
            else:
                numbers.setdefault(str(index), {})[key] = value
    return tensors, {"groups": state["param_groups"], "numbers": numbers}


def load_optimizer(prefix: str, optimizer: Optimizer, tensors: dict[str, Tensor], meta: dict[str, Any]) -> None:
    """Undo ``optimizer_state``."""
    state: dict[int, dict[str, Any]] = {int(index): dict(entries) for index, entries in meta["numbers"].items()}
    for name, tensor in tensors.items():
        if name.startswith(f"{prefix}."):
            _, index, key = name.rsplit(".", 2)
            state.setdefault(int(index), {})[key] = tensor
    optimizer.load_state_dict({"state": state, "param_groups": meta["groups"]})
    # Files hold contiguous tensors; a moment must have its parameter's strides, for kernels may differ in the last bit
    # between layouts.
    for parameter, entries in optimizer.state.items():
        for key, value in entries.items():
            if isinstance(value, Tensor) and value.shape == parameter.shape:
                entries[key] = torch.empty_like(parameter, dtype=value.dtype).copy_(value)


def rng_state(device: torch.device) -> dict[str, Tensor]:
    """State of torch's generators that training draws from: the CPU's, and the device's own."""
    states = {"rng.cpu": torch.get_rng_state()}
    if device.type != "cpu":
        states["rng.device"] = torch.get_device_module(device).get_rng_state()
    return states


def set_rng_state(states: dict[str, Tensor], device: torch.device) -> None:
    """Undo ``rng_state``; a run that moves to another kind of device keeps the fresh state there."""
    torch.set_rng_state(states["rng.cpu"].cpu())
    if device.type != "cpu" and "rng.device" in states:
        torch.get_device_module(device).set_rng_state(states["rng.device"].cpu())
