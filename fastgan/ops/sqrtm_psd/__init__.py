"""sqrtm_psd: schemas, fake kernels, autograd formulas, table of backends.

The square root X of a symmetric positive semi-definite matrix, put together from its eigenvalues and eigenvectors,
which are constants to autograd. The derivative G of a loss with respect to the matrix solves X G + G X = dX, which
divides by sums of roots and never by differences: repeated eigenvalues are as good as any others. The solution's own
derivative is an equation of the same kind, so that any order can be had.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor

from fastgan.ops.define import define_autocast, define_autograd, define_op
from fastgan.ops.matrices import check_like_matrices, check_square
from fastgan.ops.registry import OpTable
from fastgan.ops.symmetric_eigh import symmetric_eigh

__all__ = ["sqrtm_psd", "trace_sqrtm"]

table = OpTable("sqrtm_psd", ("cpu", "reference"))


def _check_forward(name: str, matrix: Tensor, eigenvalues: Tensor, vectors: Tensor, _: str | None) -> None:
    check_square(name, "matrix", matrix)
    check_like_matrices(name, "eigenvalues", eigenvalues, list(matrix.shape[:2]), matrix)
    check_like_matrices(name, "vectors", vectors, list(matrix.shape), matrix)


def _check_backward(
    name: str, grad_root: Tensor, root: Tensor, eigenvalues: Tensor, vectors: Tensor, _: str | None
) -> None:
    check_square(name, "grad_root", grad_root)
    check_like_matrices(name, "root", root, list(grad_root.shape), grad_root)
    check_like_matrices(name, "eigenvalues", eigenvalues, list(grad_root.shape[:2]), grad_root)
    check_like_matrices(name, "vectors", vectors, list(grad_root.shape), grad_root)


def _fake(matrix: Tensor, *_: Any) -> Tensor:
    return matrix.new_empty(matrix.shape)


sqrtm_psd = define_op(
    table,
    "sqrtm_psd(Tensor matrix, Tensor eigenvalues, Tensor vectors, str? backend) -> Tensor",
    _fake,
    _check_forward,
)
#: The root is an argument for its derivative's sake; what is computed with are the eigenvalues and vectors.
sqrtm_psd_backward = define_op(
    table,
    "sqrtm_psd_backward(Tensor grad_root, Tensor root, Tensor eigenvalues, Tensor vectors, str? backend) -> Tensor",
    _fake,
    _check_backward,
)


def _setup_forward(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    _, eigenvalues, vectors, ctx.backend = inputs
    ctx.save_for_backward(output, eigenvalues, vectors)


def _backward(ctx: Any, grad_root: Tensor) -> tuple[Tensor | None, ...]:
    return sqrtm_psd_backward.run(grad_root, *ctx.saved_tensors, ctx.backend), None, None, None


def _setup_backward(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    _, root, eigenvalues, vectors, ctx.backend = inputs
    ctx.save_for_backward(output, root, eigenvalues, vectors)


def _double_backward(ctx: Any, grad_grad: Tensor) -> tuple[Tensor | None, ...]:
    grad, root, eigenvalues, vectors = ctx.saved_tensors
    grad_output = sqrtm_psd_backward.run(grad_grad, root, eigenvalues, vectors, ctx.backend)
    product = grad_output @ grad if ctx.needs_input_grad[2] else None
    return grad_output, None if product is None else -(product + product.mT), None, None, None


define_autograd(sqrtm_psd, _setup_forward, _backward)
define_autograd(sqrtm_psd_backward, _setup_backward, _double_backward)


# Rounding to half types would cost the result all but three digits.
define_autocast(sqrtm_psd, lambda *args: args)


def trace_sqrtm(matrix: Tensor, backend: str | None) -> Tensor:
    """Traces of the roots of symmetric positive definite matrices [B, n, n], differentiable to any order."""
    eigenvalues, vectors = symmetric_eigh(matrix.detach(), True, backend)
    return sqrtm_psd(matrix, eigenvalues, vectors, backend).diagonal(dim1=-2, dim2=-1).sum(-1)
