"""The activations of bias_act: their defaults, their numbers in the kernels, and what each must save."""

from __future__ import annotations

import math
from typing import NamedTuple

__all__ = ["ACTIVATIONS", "Activation", "kernel_code", "saves_input"]


class Activation(NamedTuple):
    """Default parameters of one activation; `alpha` is None where it has no such parameter."""

    gain: float
    alpha: float | None = None
    piecewise_linear: bool = False


#: The default gains keep the variance of a layer's output near that of its input.
ACTIVATIONS = {
    "linear": Activation(1.0, piecewise_linear=True),
    "relu": Activation(math.sqrt(2), piecewise_linear=True),
    "lrelu": Activation(math.sqrt(2), alpha=0.2, piecewise_linear=True),
    "tanh": Activation(1.0),
    "sigmoid": Activation(1.0),
    "elu": Activation(1.0),
    "selu": Activation(1.0),
    "softplus": Activation(1.0),
    "swish": Activation(math.sqrt(2)),
}
_CODES = {name: code for code, name in enumerate(ACTIVATIONS)}
_LRELU_FROM_INPUT = len(ACTIVATIONS)


def saves_input(act: str, alpha: float) -> bool:
    """Whether the backward needs x + b; otherwise the output determines every derivative.

    Swish is not monotonic, nor is leaky ReLU with a negative slope.
    """
    return act == "swish" or (act == "lrelu" and alpha < 0)


def kernel_code(act: str, alpha: float) -> int:
    """The activation's number in the kernels; leaky ReLU has a second one for negative slopes."""
    if act == "lrelu" and saves_input(act, alpha):
        return _LRELU_FROM_INPUT
    return _CODES[act]
