"""gate_by_bits and sign_bits by the compiled CPU extension (csrc/cpu/gate_by_bits.cpp)."""

from __future__ import annotations

import torch
from torch import Tensor

from fastgan.ops import native
from fastgan.ops.bias_act.cpu import unsupported_reason
from fastgan.ops.gate_by_bits.order import ordered

__all__ = ["gate_by_bits", "sign_bits", "unsupported_reason"]


def sign_bits(input: Tensor, channels_last: bool) -> Tensor:
    x = ordered(input, channels_last)
    bits = x.new_empty((x.numel() + 7) // 8, dtype=torch.uint8)
    native.extension().sign_bits(
        native.DTYPE_CODES[x.dtype], x.numel(), torch.get_num_threads(), x.data_ptr(), bits.data_ptr()
    )
    return bits


def gate_by_bits(input: Tensor, bits: Tensor, alpha: float, gain: float, channels_last: bool) -> Tensor:
    x, bits = ordered(input, channels_last), bits.contiguous()
    output = torch.empty_like(x)
    native.extension().gate_by_bits(
        native.DTYPE_CODES[x.dtype], x.numel(), torch.get_num_threads(),
        x.data_ptr(), bits.data_ptr(), alpha, gain, output.data_ptr(),
    )  # fmt: skip
    return output
