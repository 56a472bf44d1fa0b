"""Modules as sides of a case: made without memory, and given a case's inputs as their parameters and buffers."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

__all__ = ["loaded", "on_meta"]


def on_meta(make: Callable[[], nn.Module]) -> nn.Module:
    """A module without memory: its state is given to it afterwards."""
    with torch.device("meta"):
        return make()


def loaded(make: Callable[[], nn.Module], keys: Sequence[str], values: Sequence[Tensor]) -> nn.Module:
    """The module with `values` as the tensors of its state dict named `keys`; the tensors themselves, not copies."""
    module = on_meta(make)
    module.load_state_dict(dict(zip(keys, values, strict=True)), assign=True)
    return module
