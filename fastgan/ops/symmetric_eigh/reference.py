"""symmetric_eigh by torch.linalg, which calls LAPACK or its counterpart on the device: fallback and oracle."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["symmetric_eigh", "unsupported_reason"]


def unsupported_reason(device_type: str, dtype: torch.dtype) -> str | None:
    return None


def symmetric_eigh(matrix: Tensor, vectors: bool) -> tuple[Tensor, Tensor]:
    if not vectors:
        return torch.linalg.eigvalsh(matrix), matrix.new_empty(0)
    eigenvalues, eigenvectors = torch.linalg.eigh(matrix)
    return eigenvalues, eigenvectors.contiguous()  # LAPACK's lie in columns
