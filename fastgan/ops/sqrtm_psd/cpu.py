"""sqrtm_psd on the CPU: the reference, and a matrix that has no root is refused."""

from __future__ import annotations

import torch
from torch import Tensor

from fastgan.ops.sqrtm_psd import reference
from fastgan.ops.sqrtm_psd.reference import sqrtm_psd_backward

__all__ = ["sqrtm_psd", "sqrtm_psd_backward", "unsupported_reason"]


def unsupported_reason(device_type: str, dtype: torch.dtype) -> str | None:
    return None if device_type == "cpu" else f"serves CPU tensors, not {device_type}"


def sqrtm_psd(matrix: Tensor, eigenvalues: Tensor, vectors: Tensor) -> Tensor:
    if eigenvalues.numel():
        values = eigenvalues.numpy()
        tolerance = torch.finfo(matrix.dtype).eps ** 0.5
        for smallest, largest in values[:, [0, -1]]:
            if smallest < -tolerance * max(largest, 0.0):
                raise ValueError(
                    "sqrtm_psd: matrix must be positive semi-definite, "
                    f"got one with eigenvalues from {smallest:.3g} to {largest:.3g}"
                )
    return reference.sqrtm_psd(matrix, eigenvalues, vectors)
