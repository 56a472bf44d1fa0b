"""trace_sqrtm_product: schemas, fake kernels, autograd formulas, table of backends.

With Σ₁ = A Aᵀ and Σ₂ = B Bᵀ, tr (Σ₁Σ₂)^½ is the sum of the singular values of Aᵀ B. A factor of Σ₁ that is known may be
handed in. With Q the polar factor of Aᵀ B, the derivative with respect to Σ₁ is ½ B Qᵀ A⁻¹, which exists where Σ₁ has
full rank. The second derivative is that of tr (Bᵀ Σ₁ B)^½, a composition of ops with derivatives of their own.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from fastgan.ops.define import define_autocast, define_autograd, define_op
from fastgan.ops.matrices import check_like_matrices, check_square, in_float64, symmetrized
from fastgan.ops.registry import OpTable
from fastgan.ops.sqrtm_psd import trace_sqrtm

__all__ = ["trace_sqrtm_product"]

table = OpTable("trace_sqrtm_product", ("cpu", "reference"))


def _check(name: str, sigma1: Tensor, sigma2: Tensor, factor1: Tensor | None, *_: Any) -> None:
    check_square(name, "sigma1", sigma1)
    check_like_matrices(name, "sigma2", sigma2, list(sigma1.shape), sigma1)
    if factor1 is not None:
        batch, d, _d = sigma1.shape
        columns = factor1.shape[2] if factor1.dim() == 3 else -1
        check_like_matrices(name, "factor1", factor1, [batch, d, columns], sigma1)


def _check_backward(name: str, grad_trace: Tensor, *rest: Any) -> None:
    _check(name, *rest)
    check_like_matrices(name, "grad_trace", grad_trace, [rest[0].shape[0]], rest[0])


def _fake_forward(sigma1: Tensor, *_: Any) -> tuple[Tensor, Tensor]:
    return sigma1.new_empty(sigma1.shape[0]), sigma1.new_empty(sigma1.shape[0])


def _fake_backward(grad_trace: Tensor, sigma1: Tensor, *_: Any) -> tuple[Tensor, Tensor]:
    return sigma1.new_empty(sigma1.shape), sigma1.new_empty(sigma1.shape)


trace_sqrtm_product = define_op(
    table,
    "trace_sqrtm_product(Tensor sigma1, Tensor sigma2, Tensor? factor1, float? rtol, str? backend)"
    " -> (Tensor trace, Tensor error)",
    _fake_forward,
    _check,
)
trace_sqrtm_product_backward = define_op(
    table,
    "trace_sqrtm_product_backward(Tensor grad_trace, Tensor sigma1, Tensor sigma2, str? backend)"
    " -> (Tensor grad_sigma1, Tensor grad_sigma2)",
    _fake_backward,
    lambda name, grad_trace, sigma1, sigma2, _: _check_backward(name, grad_trace, sigma1, sigma2, None),
)


def _setup(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    ctx.mark_non_differentiable(output[1])
    sigma1, sigma2, _, _, ctx.backend = inputs
    ctx.save_for_backward(sigma1, sigma2)


def _backward(ctx: Any, grad_trace: Tensor, _: Tensor | None) -> tuple[Tensor | None, ...]:
    sigma1, sigma2 = ctx.saved_tensors
    if torch.is_grad_enabled():
        grads = _differentiable_backward(grad_trace, sigma1, sigma2, ctx.backend)
    else:
        grads = trace_sqrtm_product_backward.run(grad_trace, sigma1, sigma2, ctx.backend)
    wanted = ctx.needs_input_grad[1:3]
    return *(grad if want else None for grad, want in zip(grads, wanted, strict=True)), None, None, None


def _differentiable_backward(
    grad_trace: Tensor, sigma1: Tensor, sigma2: Tensor, backend: str | None
) -> tuple[Tensor | None, ...]:
    lower = torch.linalg.cholesky_ex(symmetrized(in_float64(sigma2))).L
    trace = trace_sqrtm(lower.mT @ symmetrized(in_float64(sigma1)) @ lower, backend)
    return torch.autograd.grad(trace, (sigma1, sigma2), in_float64(grad_trace), create_graph=True, allow_unused=True)


def _second(ctx: Any, *_: Any) -> tuple[Tensor | None, ...]:
    raise NotImplementedError(
        "trace_sqrtm_product_backward: has no derivative of its own; differentiate trace_sqrtm_product with "
        "create_graph=True"
    )


define_autograd(trace_sqrtm_product, _setup, _backward)
define_autograd(trace_sqrtm_product_backward, lambda ctx, inputs, output: None, _second)
# Rounding to half types would cost the result all but three digits.
define_autocast(trace_sqrtm_product, lambda *args: args)
