"""upsample_add by the compiled CPU extension (csrc/cpu/upsample_add.cpp)."""

from __future__ import annotations

import torch
from torch import Tensor

from fastgan.ops import native, resampling
from fastgan.ops.bias_act.cpu import unsupported_reason
from fastgan.ops.layout import image_format, image_planes

__all__ = ["unsupported_reason", "upsample_add"]


def upsample_add(input: Tensor, low: Tensor, statistics: bool) -> tuple[Tensor, Tensor]:
    layout = image_format(input)
    input, low = input.contiguous(memory_format=layout), low.contiguous(memory_format=layout)
    output = resampling.empty_images(input, list(input.shape), layout)
    gathered = resampling.empty_statistics(output, statistics)
    planes, inner = image_planes(input)
    native.extension().upsample_add(
        native.DTYPE_CODES[input.dtype], planes, *low.shape[2:], inner, input.shape[1], torch.get_num_threads(),
        input.data_ptr(), low.data_ptr(), output.data_ptr(), gathered.data_ptr() if statistics else 0,
    )  # fmt: skip
    return output, gathered
