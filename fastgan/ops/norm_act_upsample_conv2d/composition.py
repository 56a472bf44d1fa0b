"""norm_act_upsample_conv2d as its two ops, one after the other."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor

__all__ = ["composition"]


def composition(norm_act: Callable[..., Any], upsample_conv2d: Callable[..., Any]) -> Callable[..., tuple[Tensor, ...]]:
    """The op by a backend's two functions; the activation in between is among its outputs."""

    def composed(*args: Any) -> tuple[Tensor, ...]:
        activation, *moments = norm_act(*args[:11])
        output, statistics = upsample_conv2d(activation, *args[11:])
        return output, statistics, activation, *moments

    return composed
