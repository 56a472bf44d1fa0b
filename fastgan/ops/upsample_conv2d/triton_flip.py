"""A convolution's weight turned into that of its transposed convolution in one pass; torch's flip and copy take two."""

# No `from __future__ import annotations` where kernels live: Triton reads their annotations.
# mypy: disable-error-code=no-untyped-def
import torch
from torch import Tensor

from fastgan.ops.resampling import empty_images
from fastgan.ops.triton_support import tl, triton

__all__ = ["flip"]

_BLOCK = 64


@triton.jit
def flip_weight_kernel(
    weight_ptr,  # [groups, rows, cols, taps] by its strides
    turned_ptr,  # [groups, cols, rows, taps] by its strides, taps in reverse order
    rows,
    cols,
    taps,
    kernel_width,
    row_stride,
    col_stride,
    height_stride,
    width_stride,
    turned_row_stride,
    turned_col_stride,
    turned_height_stride,
    turned_width_stride,
    BLOCK: tl.constexpr,
):
    across = tl.cdiv(cols * taps, BLOCK)
    group = tl.program_id(1).to(tl.int64)
    r = tl.program_id(0) // across * BLOCK + tl.arange(0, BLOCK)[:, None]
    q = tl.program_id(0) % across * BLOCK + tl.arange(0, BLOCK)[None, :]  # in the order of channels_last
    tap, c = q // cols, q % cols
    other = taps - 1 - tap
    mask = (r < rows) & (q < cols * taps)
    source = (group * rows + r) * row_stride + c * col_stride
    source += tap // kernel_width * height_stride + tap % kernel_width * width_stride
    target = (group * cols + c) * turned_col_stride + r * turned_row_stride
    target += other // kernel_width * turned_height_stride + other % kernel_width * turned_width_stride
    tl.store(turned_ptr + target, tl.load(weight_ptr + source, mask=mask), mask=mask)


def flip(weight: Tensor, groups: int, layout: torch.memory_format) -> Tensor:
    """:func:`fastgan.ops.upsample_conv2d.forms.flipped`."""
    c_out, cols, height, width = weight.shape
    rows = c_out // groups
    turned = empty_images(weight, [groups * cols, rows, height, width], layout)
    if turned.numel() == 0:
        return turned
    blocks = triton.cdiv(rows, _BLOCK) * triton.cdiv(cols * height * width, _BLOCK)
    col_stride, row_stride, *turned_strides = turned.stride()
    with torch.cuda.device_of(weight):
        flip_weight_kernel[(blocks, groups)](
            weight, turned, rows, cols, height * width, width, *weight.stride(), row_stride, col_stride,
            *turned_strides, BLOCK=_BLOCK, num_warps=4,
        )  # fmt: skip
    return turned
