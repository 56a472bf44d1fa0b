"""A generator sharded over the processes (FSDP2), and its tensors whole again for files and for one process."""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor, nn

from fastgan.distributed import mean_of_processes

__all__ = ["like", "shard", "whole"]


def shard(module: nn.Module, device: torch.device, world_size: int) -> None:
    """Shard the module's parameters over the processes, in place.

    Each part of its sequences and lists is gathered when it is called, the rest with the module. Parameters that are
    one number, which FSDP2 does not take, stay whole everywhere, with the mean of their gradients. Optimisers must be
    made afterwards; copies, before.
    """
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    mesh = init_device_mesh(device.type, (world_size,))
    numbers = {parameter for parameter in module.parameters() if not parameter.dim()}
    for number in numbers:
        if number.requires_grad:
            number.register_post_accumulate_grad_hook(_average_gradient)
    for container in module.children():
        if isinstance(container, (nn.Sequential, nn.ModuleList)):
            for part in container:
                if not numbers.issuperset(part.parameters()):
                    fully_shard(part, mesh=mesh, ignored_params=numbers)
    fully_shard(module, mesh=mesh, reshard_after_forward=True, ignored_params=numbers)


def _average_gradient(parameter: Tensor) -> None:
    """Also where it adds up over parts of a batch: what was there is a mean already."""
    assert parameter.grad is not None
    parameter.grad.copy_(mean_of_processes(parameter.grad))


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
