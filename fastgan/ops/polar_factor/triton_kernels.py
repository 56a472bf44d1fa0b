"""The kernels of polar_factor: tiles of products with what follows them, and the whole iteration for small matrices.

Matrices [n, n] lie one after another, row by row. Each product runs in the type of its matrices: float64 on the tensor
cores, float32 as PRECISION says, of which one product in TF32 is not enough. A few tens of megabytes, which is what
the matrices of a step take, stay in the L2 cache of the GPUs this is for, so tiles are taken in plain order.
"""

# No `from __future__ import annotations` where kernels live: Triton reads their annotations.
# mypy: disable-error-code=no-untyped-def
from fastgan.ops.triton_support import tl, triton

__all__ = [
    "polar_factor_product_kernel",
    "polar_factor_resident_kernel",
    "polar_factor_symmetric_kernel",
    "polar_factor_traces_kernel",
]


@triton.jit
def _lower_tile(index, tiles):
    """Row and column of a tile on or below the diagonal of `tiles`² tiles, for index < tiles (tiles + 1) / 2.

    The columns of the right half, turned round, fit above the diagonal of the left half: together a rectangle.
    """
    even = 1 - tiles % 2
    height = tiles + even
    row, col = index % height - even, index // height
    below = row >= col
    return tl.where(below, row, tiles - 1 - even - row), tl.where(below, col, tiles - even - col)


@triton.jit
def _tile(ptr, rows, cols, n):
    return tl.load(ptr + rows[:, None] * n + cols[None, :], mask=(rows[:, None] < n) & (cols[None, :] < n), other=0.0)


@triton.jit
def _store_tile(ptr, rows, cols, n, values):
    values = values.to(ptr.dtype.element_ty)
    tl.store(ptr + rows[:, None] * n + cols[None, :], values, mask=(rows[:, None] < n) & (cols[None, :] < n))


@triton.jit
def _product_tile(x_ptr, y_ptr, rows, cols, n, TRANSPOSED: tl.constexpr, DEPTH: tl.constexpr, PRECISION: tl.constexpr):
    """Rows and columns of X Y, or of X'Y."""
    ACC: tl.constexpr = x_ptr.dtype.element_ty
    sums = tl.zeros((rows.shape[0], cols.shape[0]), ACC)
    for start in range(0, n, DEPTH):
        inner = start + tl.arange(0, DEPTH)
        x = tl.trans(_tile(x_ptr, inner, rows, n)) if TRANSPOSED else _tile(x_ptr, rows, inner, n)
        sums = tl.dot(x, _tile(y_ptr, inner, cols, n), sums, input_precision=PRECISION, out_dtype=ACC)
    return sums


@triton.jit
def polar_factor_symmetric_kernel(
    x_ptr,  # [batch, n, n], symmetric for the polynomial
    output_ptr,  # [batch, n, n]
    quintic_ptr,  # [3]: a, b, c for the polynomial, or None
    n,
    tiles,
    BLOCK: tl.constexpr,
    DEPTH: tl.constexpr,
    PRECISION: tl.constexpr,
):
    """X'X, or a I + b X + c X'X: the tiles on and below the diagonal, each stored above it too."""
    row, col = _lower_tile(tl.program_id(0), tiles)
    matrix = tl.program_id(1).to(tl.int64) * n * n
    rows, cols = row * BLOCK + tl.arange(0, BLOCK), col * BLOCK + tl.arange(0, BLOCK)
    values = _product_tile(x_ptr + matrix, x_ptr + matrix, rows, cols, n, True, DEPTH, PRECISION)
    if quintic_ptr is not None:
        a, b, c = tl.load(quintic_ptr), tl.load(quintic_ptr + 1), tl.load(quintic_ptr + 2)
        values = c * values + b * _tile(x_ptr + matrix, rows, cols, n)
        values += tl.where(rows[:, None] == cols[None, :], a, 0.0)
    _store_tile(output_ptr + matrix, rows, cols, n, values)
    if row != col:
        _store_tile(output_ptr + matrix, cols, rows, n, tl.trans(values))


@triton.jit
def polar_factor_product_kernel(
    x_ptr,  # [batch, n, n]
    y_ptr,  # [batch, n, n]
    output_ptr,  # [batch, n, n]
    n,
    tiles,
    BLOCK: tl.constexpr,
    DEPTH: tl.constexpr,
    PRECISION: tl.constexpr,
):
    index, matrix = tl.program_id(0), tl.program_id(1).to(tl.int64) * n * n
    rows, cols = index // tiles * BLOCK + tl.arange(0, BLOCK), index % tiles * BLOCK + tl.arange(0, BLOCK)
    values = _product_tile(x_ptr + matrix, y_ptr + matrix, rows, cols, n, False, DEPTH, PRECISION)
    _store_tile(output_ptr + matrix, rows, cols, n, values)


@triton.jit
def polar_factor_traces_kernel(
    polar_ptr,  # [batch, n, n]
    gram_ptr,  # [batch, n, n]: Q'Q
    matrix_ptr,  # [batch, n, n]: M
    partial_ptr,  # [batch, tiles², 2] of float64
    n,
    tiles,
    BLOCK: tl.constexpr,
    DEPTH: tl.constexpr,
    PRECISION: tl.constexpr,
):
    """Each tile's share of tr Q'M and of tr (Q - Q Q'Q)'M; the product is not stored."""
    index, batch = tl.program_id(0), tl.program_id(1).to(tl.int64)
    matrix = batch * n * n
    rows, cols = index // tiles * BLOCK + tl.arange(0, BLOCK), index % tiles * BLOCK + tl.arange(0, BLOCK)
    reached = _product_tile(polar_ptr + matrix, gram_ptr + matrix, rows, cols, n, False, DEPTH, PRECISION)
    q, m = _tile(polar_ptr + matrix, rows, cols, n), _tile(matrix_ptr + matrix, rows, cols, n).to(reached.dtype)
    partial_ptr += (batch * tl.num_programs(0) + index) * 2
    tl.store(partial_ptr, tl.sum(q * m))
    tl.store(partial_ptr + 1, tl.sum((q - reached) * m))


@triton.jit(do_not_specialize=["steps"])
def polar_factor_resident_kernel(
    matrix_ptr,  # [batch, n, n]: M
    quintics_ptr,  # [steps, 3] of the type that is computed in
    polar_ptr,  # [batch, n, n]
    nuclear_norm_ptr,  # [batch] of the type that is computed in
    residual_ptr,  # [batch] of the type that is computed in
    n,
    steps,
    tiny,
    BLOCK: tl.constexpr,
    PRECISION: tl.constexpr,
):
    """The whole iteration of a matrix that fits a block, without going back to memory."""
    ACC: tl.constexpr = quintics_ptr.dtype.element_ty
    batch = tl.program_id(0).to(tl.int64)
    place = tl.arange(0, BLOCK)
    matrix_ptr += batch * n * n
    x = _tile(matrix_ptr, place, place, n).to(ACC)
    x /= tl.maximum(tl.max(tl.abs(x)), tiny)
    gram = tl.dot(tl.trans(x), x, input_precision=PRECISION, out_dtype=ACC)
    bound = tl.maximum(tl.sqrt(tl.sqrt(tl.sum(gram * gram))), 1.0)
    x /= bound
    gram /= bound * bound
    for step in range(steps):
        a, b, c = (tl.load(quintics_ptr + 3 * step), tl.load(quintics_ptr + 3 * step + 1),
                   tl.load(quintics_ptr + 3 * step + 2))  # fmt: skip
        polynomial = c * tl.dot(gram, gram, input_precision=PRECISION, out_dtype=ACC) + b * gram
        polynomial += tl.where(place[:, None] == place[None, :], a, 0.0)
        x = tl.dot(x, polynomial, input_precision=PRECISION, out_dtype=ACC)
        gram = tl.dot(tl.trans(x), x, input_precision=PRECISION, out_dtype=ACC)
    missing = x - tl.dot(x, gram, input_precision=PRECISION, out_dtype=ACC)
    _store_tile(polar_ptr + batch * n * n, place, place, n, x)
    m = _tile(matrix_ptr, place, place, n).to(ACC)  # read once more: in registers it would be in the way all the time
    tl.store(nuclear_norm_ptr + batch, tl.sum(x * m))
    tl.store(residual_ptr + batch, tl.abs(tl.sum(missing * m)))
