"""symmetric_eigh by the compiled CPU extension (csrc/cpu/symmetric_eigh.cpp), large matrices by LAPACK."""

from __future__ import annotations

import torch
from torch import Tensor

from fastgan.ops import native
from fastgan.ops.symmetric_eigh import reference

__all__ = ["symmetric_eigh", "unsupported_reason"]

#: Larger ones leave the cache of a core, and LAPACK shares each of them among the threads.
_LARGEST = 256


def unsupported_reason(device_type: str, dtype: torch.dtype) -> str | None:
    if device_type != "cpu":
        return f"serves CPU tensors, not {device_type}"
    return native.unavailable_reason()


def symmetric_eigh(matrix: Tensor, vectors: bool) -> tuple[Tensor, Tensor]:
    batch, n, _ = matrix.shape
    if n > _LARGEST:
        return reference.symmetric_eigh(matrix, vectors)
    matrix = matrix.contiguous()
    eigenvalues, eigenvectors = matrix.new_empty(batch, n), torch.empty_like(matrix) if vectors else matrix.new_empty(0)
    native.extension().symmetric_eigh(
        native.DTYPE_CODES[matrix.dtype], batch, n, torch.get_num_threads(),
        matrix.data_ptr(), eigenvalues.data_ptr(), eigenvectors.data_ptr() if vectors else 0,
    )  # fmt: skip
    return eigenvalues, eigenvectors
