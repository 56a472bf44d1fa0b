"""Where Winograd's convolution is faster than torch's, by a model of its cost that was fitted to measurements.

In the unit of a product of one pair of channels, direct convolution costs 9 a pixel. Winograd's costs what its tiles'
products are, what transforming the weight is worth, and for each pixel of either image what its transforms are. The
constants are from ``benchmarks/choices/conv2d-cpu.json``, which ``benchmarks/winograd_choice.py`` measures: float32 on
two cores of a Zen 4 EPYC, one and two threads. At ISA levels where nothing was measured all convolutions are torch's.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
from torch import Tensor

from fastgan.ops import native
from fastgan.ops.conv2d.winograd import tile_size
from fastgan.ops.layout import image_format

__all__ = ["LANES", "Part", "may_prefer_winograd", "normalises_itself", "prefers_winograd", "takes_winograd"]

Part = Literal["forward", "grad_input", "grad_weight"]

#: The ISA levels that were timed, v3 at five shapes, and their floats in a vector, to multiples of which channels are
#: filled up.
LANES = {"v4": 16, "v3": 8}
#: What the transforms of a weight or of its gradient cost, for a pair of channels.
_WEIGHT = {"forward": 1100, "grad_input": 1100, "grad_weight": 300}
#: What the transforms of a pixel cost, for one channel, and what changing its layout adds.
_PIXEL, _RELAYOUT = 18, 72
#: The least ratio of direct convolution's cost to Winograd's. A unit of the latter takes one and a half times as long,
#: and what would gain little is left to torch.
_LEAST_SAVING = 2.0
#: With fewer channels on either side the measurements go both ways.
_FEWEST_CHANNELS = 32


class _Geometry(NamedTuple):
    pixels: int  # of all outputs
    tile: int
    tiles: int
    channels: int
    filters: int


def _geometry(input: Tensor, weight: Tensor, padding: list[int]) -> _Geometry:
    height, width = (s + 2 * p - 2 for s, p in zip(input.shape[2:], padding, strict=True))
    tile, n = tile_size(height, width), input.shape[0]
    tiles = n * -(-height // tile) * -(-width // tile)
    return _Geometry(n * height * width, tile, tiles, weight.shape[1], weight.shape[0])


def _lanes() -> int:
    """Floats in a vector of the ISA level in use, or 0 where it was not measured."""
    if torch.compiler.is_compiling():  # a traced call cannot look at the machine; the op looks again when it runs
        return max(LANES.values())
    return LANES.get(native.isa_level() or "", 0)


def prefers_winograd(part: Part, input: Tensor, weight: Tensor, padding: list[int]) -> bool:
    """Whether the output or that gradient of a 3×3 convolution, float32 on CPUs, is faster by Winograd's algorithm."""
    lanes = _lanes()
    if lanes == 0 or weight.numel() == 0:
        return False
    pixels, tile, tiles, channels, filters = _geometry(input, weight, padding)
    if min(channels, filters) < _FEWEST_CHANNELS:
        return False
    filled = -(-channels // lanes) * -(-filters // lanes) * lanes**2 / (channels * filters)
    last = torch.channels_last in (image_format(input), image_format(weight))
    by_pixel = _PIXEL if last else _PIXEL + _RELAYOUT
    by_pair = filled * ((tile + 2) ** 2 * tiles + _WEIGHT[part])
    cost = by_pair + by_pixel * pixels * (channels + filters) / (channels * filters)
    return 9 * pixels >= _LEAST_SAVING * cost


def takes_winograd(algorithm: str, part: Part, input: Tensor, weight: Tensor, padding: list[int]) -> bool:
    """Whether the algorithm asked for is Winograd's, for such tensors on CPUs."""
    if algorithm == "direct" or input.dtype != torch.float32:
        return False
    return algorithm == "winograd" or prefers_winograd(part, input, weight, padding)


def normalises_itself(algorithm: str, input: Tensor, weight: Tensor, padding: list[int]) -> bool:
    """Whether the convolution takes Winograd's algorithm, which can normalise what it reads."""
    return input.device.type == "cpu" and takes_winograd(algorithm, "forward", input, weight, padding)


def may_prefer_winograd(input: Tensor, weight: Tensor, padding: list[int]) -> bool:
    """Whether the output or a gradient does: then the op is called, which chooses for each."""
    if input.device.type != "cpu" or input.dtype != torch.float32 or torch.is_autocast_enabled("cpu"):
        return False
    parts: tuple[Part, ...] = ("forward", "grad_weight")
    return any(prefers_winograd(part, input, weight, padding) for part in parts)
