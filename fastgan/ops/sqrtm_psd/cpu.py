"""sqrtm_psd on the CPU: the reference, and a matrix that has no root is refused."""

from __future__ import annotations

import torch
from torch import Tensor

from fastgan.ops.sqrtm_psd import reference
from fastgan.ops.sqrtm_psd.reference import sqrtm_psd_backward

__all__ = ["sqrtm_psd", "sqrtm_psd_backward", "unsupported_reason"]


#: Matrices that are put together at a time, which stay in the caches.
_AT_ONCE = 16


def unsupported_reason(device_type: str, dtype: torch.dtype) -> str | None:
    return None if device_type == "cpu" else f"serves CPU tensors, not {device_type}"


def sqrtm_psd(matrix: Tensor, eigenvalues: Tensor, vectors: Tensor) -> Tensor:
    if eigenvalues.numel() == 0:
        return torch.empty_like(vectors)
    smallest, largest = eigenvalues.numpy()[:, 0], eigenvalues.numpy()[:, -1]
    indefinite = (smallest < -(torch.finfo(matrix.dtype).eps ** 0.5) * largest.clip(0)).nonzero()[0]
    if len(indefinite):
        i = indefinite[0]
        raise ValueError(
            "sqrtm_psd: matrix must be positive semi-definite, "
            f"got one with eigenvalues from {smallest[i]:.3g} to {largest[i]:.3g}"
        )
    roots = torch.empty_like(vectors)
    for begin in range(0, len(vectors), _AT_ONCE):
        part = slice(begin, begin + _AT_ONCE)
        roots[part] = reference.sqrtm_psd(matrix[part], eigenvalues[part], vectors[part])
    return roots
