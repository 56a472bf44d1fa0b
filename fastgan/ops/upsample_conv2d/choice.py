"""Where Winograd's algorithm is faster than the quarter form, by a model of its cost that was fitted to measurements.

In the unit of a product of one pair of channels, the quarter form costs 9 a pixel of the input. Winograd's costs what
its tiles' products are, what transforming the weight is worth, and for each pixel of the input what the transforms of
both images are. The constants are from ``benchmarks/choices/upsample_conv2d-cpu.json``, which
``benchmarks/winograd_upsample_choice.py`` measures: float32 on two cores of a Zen 4 EPYC, one and two threads, AVX-512.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from fastgan.ops import native
from fastgan.ops.conv2d.choice import LANES, Part
from fastgan.ops.resampling import output_format

__all__ = ["prefers_winograd", "takes_winograd"]

#: Products of a tile of 4×4 pixels.
_TILE = 81
#: What the transforms of a weight cost, for a pair of channels; the quarter form's gradient of it has as high a price.
_WEIGHT = {"forward": 400, "grad_input": 700, "grad_weight": 0}
#: What the transforms of a pixel of the input cost, for one channel, and what changing the layout adds.
_PIXEL = 25
_RELAYOUT = {"forward": 60, "grad_input": 250, "grad_weight": 250}
#: The least ratio of the quarter form's cost to Winograd's.
_LEAST_SAVING = 1.2


def prefers_winograd(
    part: Part, low: tuple[int, int, int], filters: int, channels: int, layout: torch.memory_format
) -> bool:
    """Whether that result of a 3×3 convolution with padding 1, float32 on CPUs, is faster by Winograd's algorithm.

    `low` are batch, height and width of what is upsampled.
    """
    by = LANES.get(native.isa_level() or "", 0)
    if by == 0 or filters * channels == 0:
        return False
    n, height, width = low
    pixels, tiles = n * height * width, n * -(-height // 4) * -(-width // 4)
    filled = -(-channels // by) * -(-filters // by) * by**2 / (channels * filters)
    by_pixel = _PIXEL if layout == torch.channels_last else _PIXEL + _RELAYOUT[part]
    cost = filled * (_TILE * tiles + _WEIGHT[part]) + by_pixel * pixels * (channels + filters) / (channels * filters)
    return 9 * pixels >= _LEAST_SAVING * cost


def takes_winograd(
    algorithm: str,
    part: Part,
    input: Tensor,
    weight: Tensor,
    padding: list[int],
    groups: int,
    low: tuple[int, int, int],
    channels: Sequence[int],
) -> bool:
    """Whether Winograd's algorithm serves and is asked for or faster; `channels` are those of input and output."""
    if algorithm == "direct" or input.dtype != torch.float32 or groups != 1:
        return False
    if list(weight.shape[2:]) != [3, 3] or padding != [1, 1]:
        return False
    return algorithm == "winograd" or prefers_winograd(
        part, low, channels[1], channels[0], output_format(input, weight)
    )
