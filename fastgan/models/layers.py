"""The one place where a model's layers are chosen: stock PyTorch modules or fastgan's drop-ins.

Rectifiers are PyTorch's in both: without a bias to fuse, none is faster than its in-place one. Fastgan's save a pass
where gradients are differentiated again, without which the models here are trained.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import nn
from torch.nn.utils import parametrizations

__all__ = ["Layers", "fast_layers", "stock_layers"]


@dataclass(frozen=True)
class Layers:
    """What the models build from; both sets give the same ``state_dict`` keys and the same initial numbers.

    Attributes
    ----------
    name : str
        ``"stock"`` or ``"fast"``.
    spectral_norm : callable
        Wraps a module's weight in spectral normalisation and returns the module.
    group_spectral_norm : callable
        Called once on a whole network whose every forward uses all of its normalised weights; returns the network.
    """

    name: str
    spectral_norm: Callable[[nn.Module], nn.Module]
    group_spectral_norm: Callable[[nn.Module], nn.Module]


def stock_layers() -> Layers:
    """PyTorch's own modules."""
    return Layers("stock", parametrizations.spectral_norm, lambda network: network)


def fast_layers() -> Layers:
    """The drop-ins of fastgan."""
    from fastgan.nn.utils import group_spectral_norm, spectral_norm

    return Layers("fast", spectral_norm, group_spectral_norm)
