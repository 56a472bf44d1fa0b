"""symmetric_eigh on the CPU."""

from __future__ import annotations

import torch

from fastgan.ops.symmetric_eigh.reference import symmetric_eigh

__all__ = ["symmetric_eigh", "unsupported_reason"]


def unsupported_reason(device_type: str, dtype: torch.dtype) -> str | None:
    return None if device_type == "cpu" else f"serves CPU tensors, not {device_type}"
