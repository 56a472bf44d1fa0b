"""Everything a run must remember, as named tensors and JSON; put back bit for bit or not at all."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from .checkpoint import CheckpointError
from .config import TrainConfig, frozen_differences
from .sharded import like, whole

__all__ = [
    "check_module", "check_optimizer", "check_rng", "check_run", "first_non_finite", "load_module", "load_optimizer",
    "module_tensors", "optimizer_state", "rng_state", "set_rng_state",
]  # fmt: skip


def module_tensors(prefix: str, module: nn.Module) -> dict[str, Tensor]:
    """Parameters and buffers under ``prefix.``; whole ones, for which all processes must call this."""
    return {f"{prefix}.{name}": whole(tensor) for name, tensor in module.state_dict().items()}


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


def load_module(module: nn.Module, tensors: dict[str, Tensor]) -> None:
    """Put back what ``check_module`` returned."""
    own = module.state_dict()
    module.load_state_dict({name: like(tensor, own[name]) for name, tensor in tensors.items()})


def optimizer_state(prefix: str, optimizer: Optimizer) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Split an optimiser's state into tensors (under ``prefix.``) and what JSON can hold."""
    state = optimizer.state_dict()
    tensors: dict[str, Tensor] = {}
    numbers: dict[str, dict[str, Any]] = {}
    for index, entries in state["state"].items():
        for key, value in entries.items():
            if isinstance(value, Tensor):
                tensors[f"{prefix}.{index}.{key}"] = whole(value)
            else:
                numbers.setdefault(str(index), {})[key] = value
    return tensors, {"groups": state["param_groups"], "numbers": numbers}


def first_non_finite(tensors: dict[str, Tensor]) -> str | None:
    """Name of the first tensor that holds NaN or infinity, None where all are finite."""
    return next((name for name, t in tensors.items() if t.is_floating_point() and not t.isfinite().all()), None)


def check_optimizer(
    prefix: str, optimizer: Optimizer, tensors: dict[str, Tensor], meta: dict[str, Any], where: str
) -> dict[str, Any]:
    """Undo ``optimizer_state`` as far as a state dict for ``load_optimizer``; CheckpointError unless it fits."""
    own = optimizer.state_dict()["param_groups"]
    shape = [(sorted(group), group["params"]) for group in own]
    if not _has(meta, groups=list, numbers=dict) or shape != [(sorted(g), g.get("params")) for g in meta["groups"]]:
        raise CheckpointError(f"{where}: the parameter groups of {prefix} do not fit this run")
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    state: dict[int, dict[str, Any]] = {int(index): dict(entries) for index, entries in meta["numbers"].items()}
    for name, tensor in tensors.items():
        if name.startswith(f"{prefix}."):
            _, index, key = name.rsplit(".", 2)
            # One number, or a moment of the parameter.
            if int(index) >= len(parameters) or tensor.shape not in (torch.Size(), parameters[int(index)].shape):
                raise CheckpointError(f"{where}: {name}, {tuple(tensor.shape)}, does not fit this run")
            state.setdefault(int(index), {})[key] = tensor
    if len({frozenset(entries) for entries in state.values()}) > 1:
        raise CheckpointError(f"{where}: {prefix} lacks some of its tensors")
    return {"state": state, "param_groups": meta["groups"]}


def load_optimizer(optimizer: Optimizer, state: dict[str, Any]) -> None:
    """Put back what ``check_optimizer`` returned."""
    optimizer.load_state_dict(state)
    # Files hold contiguous tensors; a moment must have its parameter's strides, for kernels may differ in the last bit
    # between layouts.
    for parameter, entries in optimizer.state.items():
        for key, value in entries.items():
            if isinstance(value, Tensor) and value.shape == parameter.shape:
                part = like(value, parameter)
                entries[key] = torch.empty_like(parameter, dtype=value.dtype).copy_(part)


def _has(meta: Any, **kinds: type) -> bool:
    return isinstance(meta, dict) and all(isinstance(meta.get(key), kind) for key, kind in kinds.items())


def check_run(meta: Any, recipe: str, config: TrainConfig, world_size: int, data: str, where: str) -> None:
    """CheckpointError unless the metadata are whole and of this recipe, settings, processes and data."""
    kinds = {"recipe": str, "config": dict, "data": str, "position": int, "world_size": int, "step": int}
    for key, kind in (kinds | {"optimizers": dict, "precision": dict}).items():
        if not _has(meta, **{key: kind}):
            raise CheckpointError(f"{where}: its metadata have no {key} ({kind.__name__})")
    if meta["recipe"] != recipe:
        raise CheckpointError(f"{where}: a checkpoint of {meta['recipe']}, not of {recipe}")
    if differences := frozen_differences(config, meta["config"]):
        raise CheckpointError(f"{where}: made with other settings: {', '.join(differences)}")
    if meta["world_size"] != world_size:
        raise CheckpointError(f"{where}: made by {meta['world_size']} processes, this run has {world_size}")
    if meta["data"] != data:
        # Its name or place may change, what it holds may not.
        name = meta["config"].get("data")
        change = "has changed since," if name == config.data else f"is not what {name} was,"
        raise CheckpointError(f"{where}: {config.data} {change} from {meta['data']} to {data}")


def rng_state(device: torch.device) -> dict[str, Tensor]:
    """State of torch's generators that training draws from: the CPU's, and the device's own."""
    states = {"rng.cpu": torch.get_rng_state()}
    if device.type != "cpu":
        states["rng.device"] = torch.get_device_module(device).get_rng_state()
    return states


def check_rng(
    tensors: dict[str, Tensor], device: torch.device, rank: int, world_size: int, where: str
) -> dict[str, Tensor]:
    """Return this process's row of each generator's states; CheckpointError unless they fit."""
    rows = {}
    for name, own in rng_state(device).items():
        if name not in tensors and name != "rng.cpu":
            continue  # a run that moves to another kind of device starts afresh there
        states = tensors.get(name)
        if states is None or states.dtype != own.dtype or states.shape != (world_size, own.numel()):
            raise CheckpointError(f"{where}: {name} does not fit this run")
        # A copy: torch.set_rng_state crashes on a tensor that starts inside its storage.
        rows[name] = states[rank].clone()
    return rows


def set_rng_state(states: dict[str, Tensor], device: torch.device) -> None:
    """Put back what ``check_rng`` returned."""
    torch.set_rng_state(states["rng.cpu"])
    if "rng.device" in states:
        torch.get_device_module(device).set_rng_state(states["rng.device"])
