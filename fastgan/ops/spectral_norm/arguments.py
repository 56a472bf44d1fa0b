"""Checks of spectral_norm's arguments, for the public functions and for the ops behind them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from fastgan.ops import checks
from fastgan.ops.spectral_norm.matrix import columns
from fastgan.ops.spectral_norm.reference import accumulator

__all__ = [
    "check_blocks",
    "check_iteration",
    "check_lengths",
    "check_members",
    "check_sigma",
    "check_tensors",
    "check_weight",
    "fits",
    "row_dim",
]


def check_lengths(function: str, weights: Sequence[Tensor], **lists: Sequence[Any]) -> None:
    """ValueError unless there is a weight, and all lists are as long as that of the weights."""
    if not weights:
        raise ValueError(f"{function}: weights must have at least one member, got none")
    for argument, given in lists.items():
        if len(given) != len(weights):
            raise ValueError(f"{function}: {argument} must have {len(weights)} members, like weights, got {len(given)}")


def check_tensors(function: str, **arguments: object) -> None:
    """TypeError unless all are tensors."""
    for argument, given in arguments.items():
        if not isinstance(given, Tensor):
            raise TypeError(f"{function}: {argument} must be a Tensor, got {type(given).__name__}")


def check_members(function: str, **lists: Sequence[object]) -> None:
    """TypeError unless all members of all lists are tensors."""
    for argument, given in lists.items():
        for i, member in enumerate(given):
            if not isinstance(member, Tensor):
                check_tensors(function, **{f"{argument}[{i}]": member})


def row_dim(function: str, argument: str, weight: Tensor, dim: int) -> int:
    """`dim` counted from 0; TypeError unless it is an integer, ValueError unless `weight` has it."""
    rank = weight.dim()
    if type(dim) is int and 0 <= dim < rank:
        return dim
    if isinstance(dim, bool) or not isinstance(dim, int):
        raise TypeError(f"{function}: dim must be an integer, got {type(dim).__name__}")
    if rank == 0:
        raise ValueError(f"{function}: {argument} must have at least one dimension, got a scalar")
    if not -rank <= dim < rank:
        shape = list(weight.shape)
        raise ValueError(f"{function}: dim must be in [{-rank}, {rank - 1}] for {argument} {shape}, got {dim}")
    return dim % rank


def check_weight(
    function: str, names: tuple[str, str, str], weight: Tensor, u: Tensor, v: Tensor, dim: int, block: bool = False
) -> None:
    """Check one weight with its vectors, or blocks of them, called by `names`."""
    checks.check_floating(function, names[0], weight)
    if weight.layout != torch.strided:
        raise TypeError(f"{function}: {names[0]} must be dense, got {weight.layout}")
    if weight.dim() == 0:
        raise ValueError(f"{function}: {names[0]} must have at least one dimension, got a scalar")
    if not 0 <= dim < weight.dim():
        raise ValueError(f"{function}: dim must be a dimension of {names[0]} {list(weight.shape)}, got {dim}")
    for name, vector, length in ((names[1], u, weight.shape[dim]), (names[2], v, columns(weight, dim))):
        checks.check_floating(function, name, vector)
        if vector.dim() != 1 + block or vector.shape[0] != length:
            raise ValueError(
                f"{function}: {name} must be {f'[{length}, k]' if block else [length]} to match {names[0]} "
                f"{list(weight.shape)} with dim={dim}, got {list(vector.shape)}"
            )
        if vector.dtype != weight.dtype:
            raise TypeError(f"{function}: {name} must be {weight.dtype} like {names[0]}, got {vector.dtype}")
        if vector.device != weight.device:
            raise ValueError(f"{function}: {name} must be on {weight.device} like {names[0]}, got {vector.device}")


def check_blocks(function: str, u: Tensor, v: Tensor, **flags: bool) -> None:
    """ValueError unless u and v have as many vectors, no more than either has entries, and none of `flags` is set."""
    most = min(len(u), len(v))
    if not 1 <= u.shape[1] <= most:
        raise ValueError(f"{function}: u must have from 1 to {most} vectors, got {list(u.shape)}")
    if v.shape[1] != u.shape[1]:
        raise ValueError(f"{function}: v must have {u.shape[1]} vectors, like u, got {list(v.shape)}")
    for argument, given in flags.items():
        if given:
            raise ValueError(f"{function}: {argument} must be False where u has several vectors, got {given}")


def fits(weight: Tensor, u: Tensor, v: Tensor, dim: int, first: Tensor) -> bool:
    """Whether :func:`check_weight` and a group's uniformity have nothing to say: a quick look before they word it."""
    dtype, device, shape = first.dtype, first.device, weight.shape
    return (
        dtype in checks.FLOATING
        and weight.layout == torch.strided
        and weight.dtype == u.dtype == v.dtype == dtype
        and weight.device == u.device == v.device == device
        and 0 <= dim < len(shape)
        and u.shape == (shape[dim],)
        and v.shape == (columns(weight, dim),)
    )


def check_sigma(function: str, name: str, sigma: Tensor, weight: Tensor) -> None:
    """ValueError unless `sigma` is a scalar of what `weight`'s dtype is computed in, on its device."""
    expected = accumulator(weight.dtype)
    if sigma.dim() or sigma.dtype != expected or sigma.device != weight.device:
        raise ValueError(
            f"{function}: {name} must be a scalar, {expected} on {weight.device}, "
            f"got {list(sigma.shape)}, {sigma.dtype} on {sigma.device}"
        )


def check_iteration(function: str, n_power_iterations: int, eps: float) -> None:
    """TypeError or ValueError unless the number of iterations is an integer from 0 and `eps` a positive number."""
    if isinstance(n_power_iterations, bool) or not isinstance(n_power_iterations, int):
        raise TypeError(f"{function}: n_power_iterations must be an integer, got {type(n_power_iterations).__name__}")
    if n_power_iterations < 0:
        raise ValueError(f"{function}: n_power_iterations must be at least 0, got {n_power_iterations}")
    checks.check_number(function, "eps", eps)
    if not eps > 0:
        raise ValueError(f"{function}: eps must be positive, got {eps}")
