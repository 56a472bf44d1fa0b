"""Sums and means over the processes of torch.distributed, differentiable."""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor

__all__ = ["mean_of_processes", "sum_of_processes"]


def sum_of_processes(tensor: Tensor) -> Tensor:
    """The sum over the processes, a new tensor; where there is one process only, ``tensor`` itself.

    All processes must call this, and later backpropagate through it. Differentiable any number of times, for losses
    that are summed over the processes, or averaged as data parallelism does.

    Parameters
    ----------
    tensor : Tensor
        Of the same shape, floating-point dtype and kind of device in all processes.

    Returns
    -------
    Tensor
    """
    return cast(Tensor, _Sum.apply(tensor)) if _processes() > 1 else tensor


def mean_of_processes(tensor: Tensor) -> Tensor:
    """The mean over the processes; otherwise as ``sum_of_processes``.

    Parameters
    ----------
    tensor : Tensor
        As for ``sum_of_processes``.

    Returns
    -------
    Tensor
    """
    return sum_of_processes(tensor) / _processes()


def _processes() -> int:
    dist = torch.distributed
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


class _Sum(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, tensor: Tensor) -> Tensor:
        # Not in place: ``tensor`` may share its memory with what the caller goes on with.
        total = tensor.contiguous().clone()
        torch.distributed.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> Tensor:
        return sum_of_processes(grad_output)
