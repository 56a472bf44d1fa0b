"""upfirdn2d in plain torch: the fallback on every device, and the oracle the kernels are compared with."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from fastgan.ops.upfirdn2d.arguments import accumulator, new_output

__all__ = ["unsupported_reason", "upfirdn2d"]


def unsupported_reason(device_type: str, dtype: torch.dtype) -> str | None:
    return None


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
    batch, channels, height, width = input.shape
    x = input.to(accumulator(input.dtype)).reshape(batch * channels, 1, height, 1, width, 1)
    x = F.pad(x, (0, up[0] - 1, 0, 0, 0, up[1] - 1))  # zeros after every pixel
    x = x.reshape(batch * channels, 1, height * up[1], width * up[0])
    x = F.pad(x, [max(p, 0) for p in padding])
    # Only then crop: more may go than the image had.
    x0, x1, y0, y1 = (max(-p, 0) for p in padding)
    x = x[:, :, y0 : x.shape[2] - y1, x0 : x.shape[3] - x1]
    if filter is not None:
        taps = filter if flip_filter else filter.flip(list(range(filter.dim())))  # conv2d is a correlation
        if taps.dim() == 1:
            x = F.conv2d(F.conv2d(x, taps[None, None, :, None]), taps[None, None, None, :])
        else:
            x = F.conv2d(x, taps[None, None])
    x = x[:, :, :: down[1], :: down[0]] * gain
    return new_output(input, size).copy_(x.reshape(batch, channels, *size))
