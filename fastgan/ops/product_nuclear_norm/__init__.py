"""product_nuclear_norm: schemas, fake kernels, autograd formulas, table of backends.

The nuclear norm of X Yᵀ, the sum of its singular values. Its derivative with respect to X is Q Y, with Q the orthogonal
polar factor of X Yᵀ: nothing is inverted, and repeated or vanishing singular values do no harm. The second derivative
is that of the trace of a matrix square root, a composition of ops with derivatives of their own.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from fastgan.ops.define import define_autocast, define_autograd, define_op
from fastgan.ops.matrices import check_like_matrices, check_matrices, in_float64
from fastgan.ops.registry import OpTable
from fastgan.ops.sqrtm_psd import trace_sqrtm

__all__ = ["product_nuclear_norm"]

table = OpTable("product_nuclear_norm", ("cpu", "triton", "reference"))


def _check(name: str, x: Tensor, y: Tensor, *_: Any) -> None:
    check_matrices(name, "x", x)
    rows = y.shape[1] if y.dim() == 3 else -1
    check_like_matrices(name, "y", y, [x.shape[0], rows, x.shape[2]], x)


def _check_backward(name: str, grad_norm: Tensor, x: Tensor, y: Tensor, _: str | None) -> None:
    _check(name, x, y)
    check_like_matrices(name, "grad_norm", grad_norm, [x.shape[0]], x)


def _fake_forward(x: Tensor, *_: Any) -> tuple[Tensor, Tensor]:
    return x.new_empty(x.shape[0]), x.new_empty(x.shape[0])


def _fake_backward(grad_norm: Tensor, x: Tensor, y: Tensor, _: str | None) -> tuple[Tensor, Tensor]:
    return x.new_empty(x.shape), y.new_empty(y.shape)


product_nuclear_norm = define_op(
    table,
    "product_nuclear_norm(Tensor x, Tensor y, float? rtol, str? backend) -> (Tensor norm, Tensor error)",
    _fake_forward,
    _check,
)
product_nuclear_norm_backward = define_op(
    table,
    "product_nuclear_norm_backward(Tensor grad_norm, Tensor x, Tensor y, str? backend)"
    " -> (Tensor grad_x, Tensor grad_y)",
    _fake_backward,
    _check_backward,
)


def _setup(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    ctx.mark_non_differentiable(output[1])
    x, y, _, ctx.backend = inputs
    ctx.save_for_backward(x, y)


def _backward(ctx: Any, grad_norm: Tensor, _: Tensor | None) -> tuple[Tensor | None, ...]:
    x, y = ctx.saved_tensors
    if torch.is_grad_enabled():
        grads = _differentiable_backward(grad_norm, x, y, ctx.backend)
    else:
        grads = product_nuclear_norm_backward.run(grad_norm, x, y, ctx.backend)
    wanted = ctx.needs_input_grad[1:3]
    return *(grad if want else None for grad, want in zip(grads, wanted, strict=True)), None, None


def _differentiable_backward(grad_norm: Tensor, x: Tensor, y: Tensor, backend: str | None) -> tuple[Tensor | None, ...]:
    # The norm is tr (M Mᵀ)^½ of any M with the same singular values; the triangle of a QR factorisation has them.
    u, v = (torch.linalg.qr(z).R if z.shape[1] > z.shape[2] else z for z in map(in_float64, (x, y)))
    if u.shape[1] > v.shape[1]:
        u, v = v, u
    m = u @ v.mT
    decomposing = None if backend == "triton" else backend  # for which Triton has nothing
    return torch.autograd.grad(
        trace_sqrtm(m @ m.mT, decomposing), (x, y), in_float64(grad_norm), create_graph=True, allow_unused=True
    )


def _second(ctx: Any, *_: Any) -> tuple[Tensor | None, ...]:
    raise NotImplementedError(
        "product_nuclear_norm_backward: has no derivative of its own; differentiate product_nuclear_norm with "
        "create_graph=True"
    )


define_autograd(product_nuclear_norm, _setup, _backward)
define_autograd(product_nuclear_norm_backward, lambda ctx, inputs, output: None, _second)
# Rounding to half types would cost the result all but three digits.
define_autocast(product_nuclear_norm, lambda *args: args)
