"""upfirdn2d by the compiled CPU extension (csrc/cpu/upfirdn2d.cpp)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from fastgan.ops import native
from fastgan.ops.upfirdn2d.arguments import filter_size, in_format, is_channels_last, new_output

__all__ = ["unsupported_reason", "upfirdn2d"]


def unsupported_reason(device_type: str, dtype: torch.dtype) -> str | None:
    if device_type != "cpu":
        return f"serves CPU tensors, not {device_type}"
    if dtype not in native.DTYPE_CODES:
        return f"does not serve {dtype}"
    return native.unavailable_reason()


def upfirdn2d(
    input: Tensor,
    filter: Tensor | None,
    up: Sequence[int],
    down: Sequence[int],
    padding: Sequence[int],
    size: Sequence[int],
    flip_filter: bool,
    gain: float,
) -> Tensor:
    output = new_output(input, size)
    input = in_format(input)
    filter = None if filter is None else filter.contiguous()
    batch, channels, height, width = input.shape
    taps = filter_size(filter)
    channels_last = is_channels_last(input)
    extension = native.extension()
    call = extension.Upfirdn2dCall(
        native.DTYPE_CODES[input.dtype],
        batch if channels_last else batch * channels,
        channels if channels_last else 1,
        (height, size[0], taps[0], up[1], down[1], padding[2]),
        (width, size[1], taps[1], up[0], down[0], padding[0]),
        filter is None or filter.dim() == 1,
        flip_filter,
        gain,
        torch.get_num_threads(),
    )
    extension.upfirdn2d(call, input.data_ptr(), 0 if filter is None else filter.data_ptr(), output.data_ptr())
    return output
