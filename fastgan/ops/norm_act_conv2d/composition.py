"""norm_act_conv2d as its two ops, one after the other."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from torch import Tensor

from fastgan.ops.resampling import output_format

__all__ = ["Composed", "composition"]


class Composed(NamedTuple):
    """The op and its weight gradient."""

    forward: Callable[..., tuple[Tensor, ...]]
    weight_gradient: Callable[..., Tensor]


def composition(
    norm_act: Callable[..., Any], conv2d: Callable[..., Any], conv2d_backward: Callable[..., Any]
) -> Composed:
    """The op by a backend's functions."""

    def forward(*args: Any) -> tuple[Tensor, ...]:
        *normalised, weight, bias, residual, padding, algorithm, statistics = args
        activation, *moments = norm_act(*normalised)
        convolved = conv2d(activation, weight, bias, None, "linear", 0.0, residual, padding, algorithm, statistics)
        # The activation is dense where the input may not be.
        output = convolved[0].contiguous(memory_format=output_format(args[0], weight))
        return output, convolved[1], activation.new_empty(0), *moments

    def weight_gradient(grad_output: Tensor, *args: Any) -> Tensor:
        *normalised, weight, padding, algorithm = args
        # Statistics are there, of all processes.
        input, scale, shift, mean, variance, _, *options, _ = normalised
        activation = norm_act(input, scale, shift, mean, variance, "given", *options, None)[0]
        wanted = [False, True]
        _, of_weight = conv2d_backward(grad_output, activation, weight, None, "linear", 0.0, padding, algorithm, wanted)
        return of_weight

    return Composed(forward, weight_gradient)
