"""The arithmetic of sizes and paddings, the checks of the op, and the memory format of its output."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from fastgan.ops import checks
from fastgan.ops.layout import accumulator

__all__ = [
    "accumulator",
    "adjoint_padding",
    "check",
    "filter_size",
    "in_format",
    "is_channels_last",
    "new_output",
    "output_size",
]

# Pairs are (x, y), paddings (x0, x1, y0, y1), as the field has them; sizes are (height, width), as torch has them.


def filter_size(filter: Tensor | None) -> tuple[int, int]:
    """(height, width): a vector of taps is used along both axes, no filter is the one tap 1."""
    if filter is None:
        return 1, 1
    return filter.shape[0], filter.shape[-1]


def output_size(
    input: Sequence[int], taps: tuple[int, int], up: Sequence[int], down: Sequence[int], padding: Sequence[int]
) -> tuple[int, int]:
    """(height, width) of the output, not positive where the padded image is smaller than the filter."""
    x0, x1, y0, y1 = padding
    height = (input[-2] * up[1] + y0 + y1 - taps[0]) // down[1] + 1
    width = (input[-1] * up[0] + x0 + x1 - taps[1]) // down[0] + 1
    return height, width


def adjoint_padding(
    input: Sequence[int],
    output: Sequence[int],
    taps: tuple[int, int],
    up: Sequence[int],
    down: Sequence[int],
    padding: Sequence[int],
) -> list[int]:
    """The padding with which the op, `up` and `down` exchanged and the filter flipped, is its own transpose.

    Output o reads input i with tap k = up·i + padding − down·o. Seen from i, that is output o with tap
    taps − 1 − k = down·o − up·i + (taps − 1 − padding); the padding behind is what gives input's size.
    """
    x, y = taps[1] - 1 - padding[0], taps[0] - 1 - padding[2]
    return [
        x,
        (input[-1] - 1) * up[0] + taps[1] - output[-1] * down[0] - x,
        y,
        (input[-2] - 1) * up[1] + taps[0] - output[-2] * down[1] - y,
    ]


def check(
    name: str,
    input: Tensor,
    filter: Tensor | None,
    up: Sequence[int],
    down: Sequence[int],
    padding: Sequence[int],
    size: Sequence[int],
) -> None:
    """Refuse what must not reach a raw pointer."""
    checks.check_floating(name, "input", input)
    if input.dim() != 4 or input.shape[2] < 1 or input.shape[3] < 1:
        raise ValueError(f"{name}: input must be [N, C, H, W] with at least one pixel, got {list(input.shape)}")
    if len(up) != 2 or len(down) != 2 or min(*up, *down) < 1:
        raise ValueError(f"{name}: up and down must be two factors of at least 1, got {list(up)} and {list(down)}")
    if len(padding) != 4 or len(size) != 2:
        raise ValueError(f"{name}: padding must have 4 entries and size 2, got {list(padding)} and {list(size)}")
    if filter is not None:
        if filter.dim() not in (1, 2) or filter.numel() == 0:
            raise ValueError(f"{name}: filter must be [taps] or [height, width], got {list(filter.shape)}")
        if filter.dtype != accumulator(input.dtype):
            expected = f"{accumulator(input.dtype)} for input's {input.dtype}"
            raise TypeError(f"{name}: filter must be {expected}, got {filter.dtype}")
        if filter.device != input.device:
            raise ValueError(f"{name}: filter must be on input's device {input.device}, got {filter.device}")
    expected_size = output_size(input.shape, filter_size(filter), up, down, padding)
    if expected_size[0] < 1 or expected_size[1] < 1 or tuple(size) != expected_size:
        raise ValueError(f"{name}: size must be {list(expected_size)}, at least [1, 1], got {list(size)}")


def is_channels_last(x: Tensor) -> bool:
    """Whether the channels lie together in memory; of a single channel that is not said."""
    return x.shape[1] > 1 and x.stride(1) == 1 and x.stride(3) >= x.shape[1]


def _memory_format(x: Tensor) -> torch.memory_format:
    return torch.channels_last if is_channels_last(x) else torch.contiguous_format


def in_format(x: Tensor) -> Tensor:
    """`x` in the format of its output; a copy only where it has gaps, overlaps or another order."""
    return x.contiguous(memory_format=_memory_format(x))


def new_output(input: Tensor, size: Sequence[int], dtype: torch.dtype | None = None) -> Tensor:
    """Memory for the output, channels_last where input is, and of its dtype where no other is given."""
    return torch.empty(
        (input.shape[0], input.shape[1], *size),
        dtype=dtype or input.dtype,
        device=input.device,
        memory_format=_memory_format(input),
    )
