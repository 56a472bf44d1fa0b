"""symmetric_eigh: schema, fake kernel, table of backends.

The eigenvalues and eigenvectors of many small symmetric matrices. The op has no derivative of its own: that of
eigenvectors does not exist where eigenvalues agree, while functions of the matrix that are made of them have one, each
by a formula that never divides by a difference of eigenvalues.
"""

from __future__ import annotations

from torch import Tensor

from fastgan.ops.define import define_op
from fastgan.ops.matrices import check_square
from fastgan.ops.registry import OpTable

__all__ = ["symmetric_eigh"]

table = OpTable("symmetric_eigh", ("cpu", "cuda", "reference"))


def _check(name: str, matrix: Tensor, *_: object) -> None:
    check_square(name, "matrix", matrix)


def _fake(matrix: Tensor, vectors: bool, _: str | None) -> tuple[Tensor, Tensor]:
    batch, n, _n = matrix.shape
    return matrix.new_empty(batch, n), matrix.new_empty(batch, n, n) if vectors else matrix.new_empty(0)


#: ``symmetric_eigh(matrix [B, n, n], vectors, backend)`` reads the lower triangles and gives eigenvalues [B, n] in
#: ascending order and eigenvectors [B, n, n] in columns, of no elements unless they are asked for.
symmetric_eigh = define_op(
    table,
    "symmetric_eigh(Tensor matrix, bool vectors, str? backend) -> (Tensor eigenvalues, Tensor eigenvectors)",
    _fake,
    _check,
)
