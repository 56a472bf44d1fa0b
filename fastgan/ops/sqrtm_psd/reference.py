"""sqrtm_psd in plain torch: fallback and oracle."""

from __future__ import annotations

import torch
from torch import Tensor

from fastgan.ops.matrices import symmetrized

__all__ = ["roots", "sqrtm_psd", "sqrtm_psd_backward", "unsupported_reason"]


def unsupported_reason(device_type: str, dtype: torch.dtype) -> str | None:
    return None


def roots(eigenvalues: Tensor, eps: float | None = None) -> Tensor:
    """Square roots of ascending eigenvalues [B, n], 0 for those that rounding alone may have made.

    `eps` is the precision of the matrix they are of. Default: theirs.
    """
    n = eigenvalues.shape[1]
    if n == 0:
        return eigenvalues
    noise = eigenvalues[:, -1:].detach() * (n * (torch.finfo(eigenvalues.dtype).eps if eps is None else eps))
    kept = eigenvalues > noise
    return torch.where(kept, torch.where(kept, eigenvalues, 1.0).sqrt(), 0.0)


def sqrtm_psd(matrix: Tensor, eigenvalues: Tensor, vectors: Tensor) -> Tensor:
    if torch.is_grad_enabled() and matrix.requires_grad:  # the oracle, which autograd differentiates
        eigenvalues, vectors = torch.linalg.eigh(symmetrized(matrix))
    return symmetrized(vectors * roots(eigenvalues)[:, None] @ vectors.mT)


def sqrtm_psd_backward(grad_root: Tensor, root: Tensor, eigenvalues: Tensor, vectors: Tensor) -> Tensor:
    r = roots(eigenvalues)
    sums = r[:, :, None] + r[:, None]
    inner = vectors.mT @ symmetrized(grad_root) @ vectors
    # Where both roots are 0 the derivative is infinite; it is taken as 0.
    inner = torch.where(sums == 0, 0.0, inner / torch.where(sums == 0, 1.0, sums))
    return symmetrized(vectors @ inner @ vectors.mT)
