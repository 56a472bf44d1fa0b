"""Activations that are linear on either side of zero, before an op that is linear in its input.

For these act(x) = x act'(x), so that an activation and its derivative are one operation: multiplying by the slope at a
gate, which is the input itself for the value, and the same input for every derivative.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from fastgan.ops import checks
from fastgan.ops.bias_act.activations import ACTIVATIONS as ALL

__all__ = ["ACTIVATIONS", "activated", "gate_of", "slope_below", "sloped"]

#: As :func:`fastgan.functional.bias_act` calls them.
ACTIVATIONS = tuple(name for name, act in ALL.items() if act.piecewise_linear)


def slope_below(name: str, act: str, alpha: float | None) -> float:
    """The slope below zero, of which 0.2 is the default for lrelu; raises for what is no such activation."""
    checks.check_choice(name, "act", act, ACTIVATIONS)
    default = ALL[act].alpha
    if alpha is None:
        return default or 0.0
    checks.check_number(name, "alpha", alpha, "None")
    if default is None:
        raise ValueError(f"{name}: alpha must be None for act='{act}', which has no such parameter, got {alpha}")
    return alpha


def gate_of(input: Tensor, gate: Tensor | None, act: str) -> Tensor | None:
    """Where derivatives of ``activated(input, gate, act, alpha)`` take their slopes; None where those are all 1."""
    return None if act == "linear" else input if gate is None else gate


def sloped(x: Tensor, gate: Tensor | None, act: str, alpha: float) -> Tensor:
    """X act'(gate)."""
    if gate is None or act == "linear":
        return x
    below = 0.0 if act == "relu" else alpha
    return x * torch.full_like(gate, below).masked_fill(gate > 0, 1.0)


def activated(x: Tensor, gate: Tensor | None, act: str, alpha: float) -> Tensor:
    """act(x), or x act'(gate) where there is a gate."""
    if gate is not None:
        return sloped(x, gate, act, alpha)
    return x if act == "linear" else F.relu(x) if act == "relu" else F.leaky_relu(x, alpha)
