"""Better singular vectors than one power iteration gives: a block of k vectors, and the exact ones.

In plain torch on every device: products of W with a few vectors at once, which move the bytes of a product with one.
"""

from __future__ import annotations

import contextlib

import torch
from torch import Tensor

from fastgan.ops.spectral_norm.matrix import as_matrix
from fastgan.ops.spectral_norm.reference import accumulator

__all__ = ["block_iteration", "exact_vectors", "leading_pair"]


def _no_autocast(weight: Tensor) -> contextlib.AbstractContextManager[None]:
    """Products in the computation's own dtype; on meta there is nothing to switch off."""
    if weight.is_meta:  # torch.amp.is_autocast_available breaks a graph in torch 2.10
        return contextlib.nullcontext()
    return torch.autocast(weight.device.type, enabled=False)


@torch.no_grad()
def block_iteration(weight: Tensor, u: Tensor, v: Tensor, n_power_iterations: int, dim: int) -> tuple[Tensor, Tensor]:
    """Orthonormal blocks u [rows, k] and v [columns, k] after iterations of u ← orth(W v), v ← orth(Wᵀ u).

    The error of the leading pair falls by (σ_{k+1} / σ₁)² an iteration, where a single vector's falls by (σ₂ / σ₁)²;
    that of σ by the square of this.
    """
    wide = accumulator(weight.dtype)
    matrix, new_u, new_v = as_matrix(weight, dim).to(wide), u.to(wide), v.to(wide)
    with _no_autocast(weight):
        for _ in range(n_power_iterations):
            new_u = torch.linalg.qr(matrix @ new_v).Q
            new_v = torch.linalg.qr(matrix.mT @ new_u).Q
    return new_u.to(u.dtype, copy=True), new_v.to(v.dtype, copy=True)  # never an input itself


@torch.no_grad()
def leading_pair(weight: Tensor, u: Tensor, v: Tensor, dim: int) -> tuple[Tensor, Tensor]:
    """The best pair of singular vectors in the spans of the blocks u and v: those of the k × k matrix uᵀ W v."""
    wide = accumulator(weight.dtype)
    u_wide, v_wide = u.to(wide), v.to(wide)
    with _no_autocast(weight):
        small = u_wide.mT @ (as_matrix(weight, dim).to(wide) @ v_wide)
        finite = small.isfinite().all()  # a tensor: LAPACK refuses what is not, and a branch would not compile
        left, _, right = torch.linalg.svd(torch.where(finite, small, 0))
        new_u, new_v = u_wide @ left[:, 0], v_wide @ right[0]
    return torch.where(finite, new_u, torch.nan).to(u.dtype), torch.where(finite, new_v, torch.nan).to(v.dtype)


@torch.no_grad()
def exact_vectors(weight: Tensor, dim: int, eps: float) -> tuple[Tensor, Tensor]:
    """The leading singular vectors, by the eigenvectors of the Gram matrix of the smaller side.

    The Gram matrix squares the condition, but not of its largest eigenvalue: one product with W after it brings σ to
    full accuracy. What it squares is scaled, so that nothing overflows or vanishes.
    """
    wide = accumulator(weight.dtype)
    matrix = as_matrix(weight, dim).to(wide)
    if not matrix.numel():
        return weight.new_zeros(matrix.shape[0]), weight.new_zeros(matrix.shape[1])
    finite = weight.isfinite().all()  # a tensor: LAPACK refuses what is not, and a branch would not compile
    matrix = torch.where(finite, matrix, 0)
    matrix = matrix / matrix.abs().amax().clamp_min(torch.finfo(wide).tiny)
    wider = matrix.shape[0] <= matrix.shape[1]
    short = matrix if wider else matrix.mT
    with _no_autocast(weight):
        one = torch.linalg.eigh(short @ short.mT).eigenvectors[:, -1]
        other = short.mT @ one
    other = other / torch.linalg.vector_norm(other).clamp_min(eps)
    u, v = (torch.where(finite, x, torch.nan) for x in ((one, other) if wider else (other, one)))
    return u.to(weight.dtype), v.to(weight.dtype)
