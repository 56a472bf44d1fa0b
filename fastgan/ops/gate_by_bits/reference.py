"""gate_by_bits and sign_bits in plain torch: fallback and oracle."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from fastgan.ops.gate_by_bits.order import ordered

__all__ = ["gate_by_bits", "sign_bits", "unsupported_reason"]


def unsupported_reason(device_type: str, dtype: torch.dtype) -> str | None:
    return None


def _places(device: torch.device) -> Tensor:
    return torch.arange(8, dtype=torch.uint8, device=device)


def sign_bits(input: Tensor, channels_last: bool) -> Tensor:
    above = (input > 0).to(torch.uint8)
    if channels_last:
        above = above.movedim(1, -1)
    flags = above.reshape(-1)
    flags = F.pad(flags, (0, -len(flags) % 8)).view(-1, 8)
    return (flags << _places(flags.device)).sum(1, dtype=torch.uint8)


def gate_by_bits(input: Tensor, bits: Tensor, alpha: float, gain: float, channels_last: bool) -> Tensor:
    flags = (bits[:, None] >> _places(bits.device) & 1).view(-1)[: input.numel()]
    above = flags.view(input.movedim(1, -1).shape).movedim(-1, 1) if channels_last else flags.view(input.shape)
    below = torch.zeros_like(input) if alpha == 0 else gain * alpha * input  # 0 also where the input is infinite
    return ordered(torch.where(above.bool(), gain * input, below), channels_last)
