"""Winograd's convolution by the compiled CPU extension (csrc/cpu/winograd.cpp): float32, channels_last inside.

Each function returns None where a result is not finite. Winograd's sums then spread what direct convolution keeps
apart, or have overflowed where it does not: the caller computes directly.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from fastgan.ops import native, resampling
from fastgan.ops.layout import image_format

__all__ = [
    "NOTHING",
    "Prologue",
    "convolution",
    "evenly_spaced",
    "grad_input",
    "grad_weight",
    "images",
    "scratch_bytes",
    "tile_size",
]


def tile_size(height: int, width: int) -> int:
    """The side of the output's tiles with the fewest products for such an output: 4, or 2 in small images."""
    large, small = (-(-height // side) * -(-width // side) * (side + 2) ** 2 for side in (4, 2))
    return 4 if large <= small else 2


def scratch_bytes() -> int:
    """Bytes of scratch memory that this thread keeps from one call to the next."""
    return native.extension().winograd_scratch()


class Prologue(NamedTuple):
    """What is done with the input's pixels as they are read: nothing, or slopes at a gate, or a map of channels.

    With a gate x becomes x times `below` where the gate is not positive; with `mean` it becomes z times `above` where z
    is positive, else times `below`, of z = (x - mean) scale + shift.
    """

    gate: Tensor | None = None  # like the input
    mean: Tensor | None = None  # [C]
    scale: Tensor | None = None  # [C] or [N, C], as is shift
    shift: Tensor | None = None
    above: float = 1.0
    below: float = 1.0

    @classmethod
    def of(cls, gate: Tensor | None, act: str, alpha: float) -> Prologue:
        """The slopes of an activation at a gate, or nothing without one."""
        return cls() if gate is None else cls(images(gate), below=0.0 if act == "relu" else alpha)

    def native(self) -> Any:
        """The extension's."""
        extension = native.extension()
        if self.gate is not None:
            return extension.WinogradPrologue(self.gate.data_ptr(), self.below)
        if self.mean is None or self.scale is None or self.shift is None:
            return extension.WinogradPrologue()
        steps = (x.shape[1] if x.dim() == 2 else 0 for x in (self.scale, self.shift))
        return extension.WinogradPrologue(
            self.mean.data_ptr(), self.scale.data_ptr(), self.shift.data_ptr(), *steps, self.above, self.below
        )


NOTHING = Prologue()


def _call(
    x: Tensor,
    weight: Tensor,
    padding: list[int],
    output: tuple[int, int],
    transposed: bool = False,
    divisor: Tensor | None = None,
) -> Any:
    channels, filters = (0, 1) if transposed else (1, 0)
    return native.extension().WinogradCall(
        tile_size(*output), x.shape[0], *x.shape[2:], weight.shape[channels], weight.shape[filters], *padding,
        weight.stride(filters), weight.stride(channels), weight.stride(3), transposed, _address(divisor),
        torch.get_num_threads(),
    )  # fmt: skip


def _address(x: Tensor | None) -> int:
    return 0 if x is None else x.data_ptr()


def images(x: Tensor) -> Tensor:
    """`x` in the memory format that the extension reads."""
    return x.contiguous(memory_format=torch.channels_last)


def evenly_spaced(weight: Tensor) -> Tensor:
    """`weight` with taps that one stride tells."""
    return weight if weight.stride(2) == 3 * weight.stride(3) else weight.contiguous()


def convolution(
    input: Tensor,
    weight: Tensor,
    padding: list[int],
    before: Prologue = NOTHING,
    bias: Tensor | None = None,
    residual: Tensor | None = None,
    statistics: bool = False,
    divisor: Tensor | None = None,
) -> tuple[Tensor, Tensor] | None:
    """The output, channels_last, and its statistics; weight is divided by `divisor`, of one element."""
    input, weight, bias = images(input), evenly_spaced(weight), None if bias is None else bias.contiguous()
    height, width = (s + 2 * p - 2 for s, p in zip(input.shape[2:], padding, strict=True))
    output = resampling.empty_images(input, [input.shape[0], weight.shape[0], height, width], torch.channels_last)
    gathered = resampling.empty_statistics(output, statistics)
    residual = None if residual is None else images(residual)
    half = residual is not None and residual.shape != output.shape
    after = native.extension().WinogradEpilogue(
        _address(bias), _address(residual), half, 0, 1.0, gathered.data_ptr() if statistics else 0
    )
    finite = native.extension().winograd_convolution(
        _call(input, weight, padding, (height, width), divisor=divisor), before.native(), after,
        input.data_ptr(), weight.data_ptr(), output.data_ptr(),
    )  # fmt: skip
    return (output, gathered) if finite else None


def grad_input(grad: Tensor, weight: Tensor, padding: list[int], before: Prologue = NOTHING) -> Tensor | None:
    """The input's gradient, channels_last: a convolution of the gradient with the weight transposed.

    `before` is what the forward has done with the input: nothing, or slopes at a gate.
    """
    grad, weight, sides = images(grad), evenly_spaced(weight), [2 - p for p in padding]
    height, width = (s + 2 * p - 2 for s, p in zip(grad.shape[2:], sides, strict=True))
    result = resampling.empty_images(grad, [grad.shape[0], weight.shape[1], height, width], torch.channels_last)
    after = native.extension().WinogradEpilogue(0, 0, False, _address(before.gate), before.below, 0)
    finite = native.extension().winograd_convolution(
        _call(grad, weight, sides, (height, width), transposed=True), NOTHING.native(), after,
        grad.data_ptr(), weight.data_ptr(), result.data_ptr(),
    )  # fmt: skip
    return result if finite else None


def grad_weight(
    grad: Tensor, input: Tensor, weight: Tensor, padding: list[int], before: Prologue = NOTHING
) -> Tensor | None:
    """The weight's gradient, in weight's memory format."""
    grad, input = images(grad), images(input)
    result = resampling.empty_images(weight, list(weight.shape), image_format(weight))
    finite = native.extension().winograd_weight_gradient(
        _call(input, result, padding, (grad.shape[2], grad.shape[3])), before.native(),
        input.data_ptr(), grad.data_ptr(), result.data_ptr(),
    )  # fmt: skip
    return result if finite else None
