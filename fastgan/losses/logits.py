"""What the losses share: the precision of their arithmetic, and the logarithm of the sigmoid."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["check_pairs", "softplus", "wide"]


def wide(logits: Tensor) -> Tensor:
    """`logits` themselves, half types as float32: a square or an exponential soon leaves float16's range."""
    return logits.float() if logits.dtype in (torch.float16, torch.bfloat16) else logits


def softplus(x: Tensor) -> Tensor:
    """log(1 + exp(x)), to the last digits in float64 too: ``F.softplus`` is the identity from 20 on."""
    return -F.logsigmoid(-x)


def check_pairs(function: str, real_logits: Tensor, fake_logits: Tensor) -> None:
    """ValueError unless the shapes agree: [N] and [N, 1] would silently broadcast to all N² pairs."""
    if real_logits.shape != fake_logits.shape:
        raise ValueError(
            f"{function}: fake_logits must be {list(real_logits.shape)} to pair with real_logits, "
            f"got {list(fake_logits.shape)}"
        )
