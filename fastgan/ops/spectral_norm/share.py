"""One normalisation, several forwards: a graph node for each forward, over Ŵ and σ computed once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from fastgan.ops.spectral_norm import gradients

__all__ = ["share"]


class _Share(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, dims: list[int], backend: str | None, *flat: Tensor) -> tuple[Tensor, ...]:
        ctx.set_materialize_grads(False)
        ctx.dims, ctx.backend = dims, backend
        n = len(dims)
        ctx.save_for_backward(*flat[n:])
        normalized, sigmas = flat[:n], flat[2 * n : 3 * n]
        return tuple(shared.view_as(shared) for shared in (*normalized, *sigmas))

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        n = len(ctx.dims)
        members = (*(ctx.saved_tensors[i * n : (i + 1) * n] for i in range(4)), ctx.dims)
        wanted = ctx.needs_input_grad[2 + n : 2 + 2 * n]
        results = gradients(grads[:n], grads[n:], members, wanted, ctx.backend)
        return (None, None, *(None,) * n, *results, *(None,) * (3 * n))


def share(
    normalized: Sequence[Tensor],
    weights: Sequence[Tensor],
    sigmas: Sequence[Tensor],
    us: Sequence[Tensor],
    vs: Sequence[Tensor],
    dims: Sequence[int],
    backend: str | None,
) -> tuple[list[Tensor], list[Tensor]]:
    """`normalized` and `sigmas`, the same memory, with the history that spectral_norm of `weights` would give them."""
    flat = _Share.apply(list(dims), backend, *normalized, *weights, *sigmas, *us, *vs)
    return list(flat[: len(weights)]), list(flat[len(weights) :])
