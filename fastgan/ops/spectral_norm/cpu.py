"""spectral_norm by the compiled CPU extension (csrc/cpu/spectral_norm.cpp)."""

from __future__ import annotations

import torch
from torch import Tensor

from fastgan.ops import native
from fastgan.ops.layout import channel_extents, dense, match_layout
from fastgan.ops.spectral_norm.matrix import columns_in_memory, columns_of
from fastgan.ops.spectral_norm.reference import accumulator

__all__ = ["spectral_norm", "spectral_norm_backward", "spectral_norm_double_backward", "unsupported_reason"]


def unsupported_reason(device_type: str, dtype: torch.dtype) -> str | None:
    if device_type != "cpu":
        return f"serves CPU tensors, not {device_type}"
    if dtype not in native.DTYPE_CODES:
        return f"does not serve {dtype}"
    return native.unavailable_reason()


def spectral_norm(
    weights: list[Tensor],
    us: list[Tensor],
    vs: list[Tensor],
    dims: list[int],
    materialize: list[bool],
    n_power_iterations: int,
    eps: float,
    v_first: bool,
) -> tuple[list[Tensor], list[Tensor], list[Tensor], list[Tensor]]:
    weights = [dense(weight) for weight in weights]
    us = [u.contiguous() for u in us]
    vs = [columns_in_memory(v, weight, dim) for v, weight, dim in zip(vs, weights, dims, strict=True)]
    outputs = [
        torch.empty_like(w) if wanted else w.new_empty(0) for w, wanted in zip(weights, materialize, strict=True)
    ]
    first = weights[0].new_empty((), dtype=accumulator(weights[0].dtype))
    sigmas = [first, *(torch.empty_like(first) for _ in weights[1:])]
    new_us, new_vs = [torch.empty_like(u) for u in us], [torch.empty_like(v) for v in vs]
    members: list[int] = []
    for weight, u, v, dim, wanted, output, sigma, new_u, new_v in zip(
        weights, us, vs, dims, materialize, outputs, sigmas, new_us, new_vs, strict=True
    ):
        members += channel_extents(weight, dim)
        members += (weight.data_ptr(), u.data_ptr(), v.data_ptr(), output.data_ptr() if wanted else 0)
        members += (sigma.data_ptr(), new_u.data_ptr(), new_v.data_ptr())
    native.extension().spectral_norm(
        native.DTYPE_CODES[weights[0].dtype], n_power_iterations, eps, v_first, torch.get_num_threads(), members
    )
    new_vs = [columns_of(v, weight, dim) for v, weight, dim in zip(new_vs, weights, dims, strict=True)]
    return outputs, sigmas, new_us, new_vs


def spectral_norm_backward(
    grad_outputs: list[Tensor],
    weights: list[Tensor],
    sigmas: list[Tensor],
    us: list[Tensor],
    vs: list[Tensor],
    dims: list[int],
) -> list[Tensor]:
    weights = [dense(weight) for weight in weights]
    grads = [torch.empty_like(weight) for weight in weights]
    held = []
    members: list[int] = []
    for grad_output, weight, sigma, u, v, dim, grad in zip(
        grad_outputs, weights, sigmas, us, vs, dims, grads, strict=True
    ):
        operands = (match_layout(grad_output, weight), weight, sigma, u.contiguous(), columns_in_memory(v, weight, dim))
        held.append(operands)  # copies must outlive the call
        members += channel_extents(weight, dim)
        members += [operand.data_ptr() for operand in (*operands, grad)]
    native.extension().spectral_norm_backward(native.DTYPE_CODES[weights[0].dtype], torch.get_num_threads(), members)
    return grads


def spectral_norm_double_backward(
    grad_grad_weights: list[Tensor],
    grad_outputs: list[Tensor],
    weights: list[Tensor],
    sigmas: list[Tensor],
    us: list[Tensor],
    vs: list[Tensor],
    dims: list[int],
) -> tuple[list[Tensor], list[Tensor]]:
    weights = [dense(weight) for weight in weights]
    grad_grads, grads = [torch.empty_like(w) for w in weights], [torch.empty_like(w) for w in weights]
    held = []
    members: list[int] = []
    for grad_grad_weight, grad_output, weight, sigma, u, v, dim, *results in zip(
        grad_grad_weights, grad_outputs, weights, sigmas, us, vs, dims, grad_grads, grads, strict=True
    ):
        cotangents = (match_layout(grad_grad_weight, weight), match_layout(grad_output, weight))
        operands = (*cotangents, weight, sigma, u.contiguous(), columns_in_memory(v, weight, dim))
        held.append(operands)
        members += channel_extents(weight, dim)
        members += [operand.data_ptr() for operand in (*operands, *results)]
    native.extension().spectral_norm_double_backward(
        native.DTYPE_CODES[weights[0].dtype], torch.get_num_threads(), members
    )
    return grad_grads, grads
