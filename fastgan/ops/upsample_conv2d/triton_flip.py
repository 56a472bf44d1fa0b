"""A convolution's weight turned into that of its transposed convolution, in one pass: torch's flip and copy take two."""

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
    group_stride,
    row_stride,
    col_stride,
    turned_group_stride,
    turned_row_stride,
    turned_col_stride,
    kernel_width,
    height_stride,
    width_stride,
    turned_height_stride,
    turned_width_stride,
    BLOCK: tl.constexpr,
):
    tap, group = tl.program_id(1), tl.program_id(2).to(tl.int64)
    r = tl.program_id(0) // tl.cdiv(cols, BLOCK) * BLOCK + tl.arange(0, BLOCK)[:, None]
    c = tl.program_id(0) % tl.cdiv(cols, BLOCK) * BLOCK + tl.arange(0, BLOCK)[None, :]
    other = taps - 1 - tap
    source = group * group_stride + tap // kernel_width * height_stride + tap % kernel_width * width_stride
    target = turned_ptr + group * turned_group_stride + other // kernel_width * turned_height_stride
    target += other % kernel_width * turned_width_stride
    mask = (r < rows) & (c < cols)
    w = tl.load(weight_ptr + source + r.to(tl.int64) * row_stride + c.to(tl.int64) * col_stride, mask=mask)
    tl.store(target + r.to(tl.int64) * turned_row_stride + c.to(tl.int64) * turned_col_stride, w, mask=mask)


def flip(weight: Tensor, groups: int, layout: torch.memory_format) -> Tensor:
    """:func:`fastgan.ops.upsample_conv2d.forms.flipped`."""
    c_out, cols, height, width = weight.shape
    rows = c_out // groups
    turned = empty_images(weight, [groups * cols, rows, height, width], layout)
    if turned.numel() == 0:
        return turned
    blocks = triton.cdiv(rows, _BLOCK) * triton.cdiv(cols, _BLOCK)
    with torch.cuda.device_of(weight):
        flip_weight_kernel[(blocks, height * width, groups)](
            weight, turned, rows, cols, height * width,
            rows * weight.stride(0), weight.stride(0), weight.stride(1),
            cols * turned.stride(0), turned.stride(1), turned.stride(0),
            width, weight.stride(2), weight.stride(3), turned.stride(2), turned.stride(3),
            BLOCK=_BLOCK, num_warps=4,
        )  # fmt: skip
    return turned
