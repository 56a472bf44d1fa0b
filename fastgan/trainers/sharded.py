"""A generator sharded over the processes (FSDP2), and its tensors whole again for files and for one process."""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor, nn

__all__ = ["like", "shard", "whole"]


def shard(module: nn.Module, device: torch.device, world_size: int) -> None:
    """Shard the module's parameters over the processes, in place.

    Each part of its sequences and lists is gathered when it is called, the rest with the module. Optimisers must be
    made afterwards; copies, before.
    """
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    mesh = init_device_mesh(device.type, (world_size,))
    for container in module.children():
        if isinstance(container, (nn.Sequential, nn.ModuleList)):
            for part in container:
                if next(part.parameters(), None) is not None:
                    fully_shard(part, mesh=mesh)
    fully_shard(module, mesh=mesh, reshard_after_forward=True)


def whole(tensor: Tensor) -> Tensor:
    """The tensor itself, or what all processes hold of it; then all must call this."""
    return cast(Any, tensor).full_tensor() if _sharded(tensor) else tensor


def like(tensor: Tensor, target: Tensor) -> Tensor:
    """The tensor, or this process's part of it where ``target`` is sharded."""
    if not _sharded(target):
        return tensor
    from torch.distributed.tensor import distribute_tensor

    given: Any = target
    return distribute_tensor(tensor.to(given.device), given.device_mesh, given.placements, src_data_rank=None)


def _sharded(tensor: Tensor) -> bool:
    """Whether it is a DTensor, told without importing what knows them."""
    return hasattr(tensor, "full_tensor")
