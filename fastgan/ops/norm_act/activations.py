"""The activations of norm_act: the piecewise linear ones, by bias_act's names and numbers."""

from __future__ import annotations

from fastgan.ops.bias_act.activations import ACTIVATIONS as ALL

__all__ = ["ACTIVATIONS"]

#: Only these: the second derivative then needs no third tensor, and the input tells every slope.
ACTIVATIONS = {name: act for name, act in ALL.items() if act.piecewise_linear}
