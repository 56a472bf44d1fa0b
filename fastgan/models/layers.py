"""The one place where a model's layers are chosen: stock PyTorch modules or fastgan's drop-ins."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import nn
from torch.nn.utils.parametrizations import spectral_norm

__all__ = ["Layers", "fast_layers", "stock_layers"]


@dataclass(frozen=True)
class Layers:
    """What the models build from; both sets give the same ``state_dict`` keys and the same initial numbers.

    Attributes
    ----------
    name : str
        ``"stock"`` or ``"fast"``.
    relu : callable
        ``relu(inplace=False)`` makes a rectifier; ``inplace`` allows it to overwrite its input, where that is faster.
    spectral_norm : callable
        Wraps a module's weight in spectral normalisation and returns the module.
    group_spectral_norm : callable
        Called once on a whole network whose every forward uses all of its normalised weights; returns the network.
    """

    name: str
    relu: Callable[..., nn.Module]
    spectral_norm: Callable[[nn.Module], nn.Module]
    group_spectral_norm: Callable[[nn.Module], nn.Module]


def stock_layers() -> Layers:
    """PyTorch's own modules."""
    return Layers("stock", nn.ReLU, spectral_norm, lambda network: network)


def fast_layers() -> Layers:
    """The drop-ins of fastgan."""
    from fastgan import nn as fast_nn

    def relu(inplace: bool = False) -> nn.Module:
        return fast_nn.ReLU()  # a fresh output costs it less than writing back

    return Layers("fast", relu, fast_nn.utils.spectral_norm, fast_nn.utils.group_spectral_norm)
