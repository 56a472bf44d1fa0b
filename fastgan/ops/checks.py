"""Argument checks and their messages: function, argument, what was expected, what was given."""

from __future__ import annotations

import torch

__all__ = [
    "FLOATING",
    "check_alike",
    "check_choice",
    "check_device",
    "check_dim",
    "check_floating",
    "check_images",
    "check_length",
    "check_number",
    "check_same_dtype",
]

FLOATING = (torch.float32, torch.float64, torch.float16, torch.bfloat16)


def check_floating(function: str, argument: str, tensor: torch.Tensor) -> None:
    """TypeError unless `tensor` is a tensor of float32, float64, float16 or bfloat16."""
    if not isinstance(tensor, torch.Tensor):
        raise TypeError(f"{function}: {argument} must be a Tensor, got {type(tensor).__name__}")
    if tensor.dtype not in FLOATING:
        expected = "float32, float64, float16 or bfloat16"
        raise TypeError(f"{function}: {argument} must be {expected}, got {tensor.dtype}")


def check_images(function: str, argument: str, tensor: torch.Tensor) -> None:
    """ValueError unless `tensor` is [N, C, H, W]."""
    if tensor.dim() != 4:
        raise ValueError(f"{function}: {argument} must be [N, C, H, W], got {list(tensor.shape)}")


def check_same_dtype(function: str, argument: str, tensor: torch.Tensor, input: torch.Tensor) -> None:
    """TypeError unless the dtypes agree, or autocast will make them agree; ValueError on another device."""
    if tensor.dtype != input.dtype and not torch.is_autocast_enabled(input.device.type):
        raise TypeError(f"{function}: {argument} must have input's dtype {input.dtype}, got {tensor.dtype}")
    check_device(function, argument, tensor, input)


def check_device(function: str, argument: str, tensor: torch.Tensor, input: torch.Tensor) -> None:
    """ValueError unless the tensors are on one device."""
    if tensor.device != input.device:
        raise ValueError(f"{function}: {argument} must be on input's device {input.device}, got {tensor.device}")


def check_dim(function: str, dim: int, input: torch.Tensor) -> int:
    """`dim` as a non-negative index into `input`'s dimensions; ValueError outside of them, TypeError for no integer."""
    if not isinstance(dim, (int, torch.SymInt)):
        raise TypeError(f"{function}: dim must be an integer, got {type(dim).__name__}")
    rank = input.dim()
    if not -rank <= dim < rank:
        raise ValueError(f"{function}: dim must be in [{-rank}, {rank - 1}] for input {list(input.shape)}, got {dim}")
    return dim % rank


def check_length(function: str, argument: str, tensor: torch.Tensor, length: int, source: str) -> None:
    """ValueError unless `tensor` is a vector of `length`, which `source` asks for."""
    if tensor.dim() != 1 or tensor.shape[0] != length:
        raise ValueError(f"{function}: {argument} must be [{length}] to match {source}, got {list(tensor.shape)}")


def check_choice(function: str, argument: str, given: str, choices: tuple[str, ...]) -> None:
    """ValueError, listing the choices, unless `given` is one of them."""
    if given not in choices:
        raise ValueError(f"{function}: {argument} must be one of {', '.join(choices)}, got {given!r}")


def check_alike(function: str, **tensors: torch.Tensor) -> None:
    """ValueError unless all have the shape, dtype and device of the first."""
    (first, expected), *others = tensors.items()
    for name, given in others:
        if given.shape != expected.shape or given.dtype != expected.dtype or given.device != expected.device:
            raise ValueError(
                f"{function}: {name} must be like {first}, {expected.dtype} {list(expected.shape)} "
                f"on {expected.device}, got {given.dtype} {list(given.shape)} on {given.device}"
            )


def check_number(function: str, argument: str, given: object, default: str | None = None) -> None:
    """TypeError unless `given` is a number; `default` is what else the message allows."""
    if isinstance(given, bool) or not isinstance(given, (int, float, torch.SymInt, torch.SymFloat)):
        expected = "a number" if default is None else f"a number or {default}"
        raise TypeError(f"{function}: {argument} must be {expected}, got {type(given).__name__}")
