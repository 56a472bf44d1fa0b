"""spectral_norm's forward kernels in Triton: products with the matrix, then the division and the new vectors."""

# No `from __future__ import annotations` where kernels live: Triton reads their annotations.
# mypy: disable-error-code=no-untyped-def
# ruff: noqa: RET505
from fastgan.ops.spectral_norm.triton_device import (
    ALIGNED,
    ELEMENTS,
    ENTRIES,
    FIELDS,
    TRANSPOSED,
    TURN,
    VECTORS,
    WRITTEN,
    U,
    V,
    count_tiles,
    known_multiple,
    lines_of,
    norm_of,
    own_share,
    pick,
    read_extents,
    tile_at,
    total_of,
    turned,
)
from fastgan.ops.triton_support import tl, triton

__all__ = ["spectral_norm_finish_kernel", "spectral_norm_product_kernel"]


@triton.jit
def _columns(c, extents, WIDE: tl.constexpr):
    """Where columns start in memory; those of a weight that is read in wide accesses lie together."""
    _, rows, inner = extents
    if WIDE > 1:
        return c.to(tl.int64)
    else:
        return (c // inner).to(tl.int64) * rows * inner + c % inner


@triton.jit
def _sum_of_products(y, other, place, mine):
    """Of the vector's entries with those of `other`, or with themselves."""
    y = tl.where(mine, y, 0.0).to(tl.float64)
    if other is None:
        return tl.sum(y * y)
    else:
        return tl.sum(y * tl.load(other + place, mask=mine, other=0.0).to(tl.float64))


@triton.jit
def _times_right(
    weight, x, scale, y, other, first, extents, turn,
    WIDE: tl.constexpr, BLOCK_ROWS: tl.constexpr, BLOCK_COLS: tl.constexpr,
):  # fmt: skip
    """Entries of the left vector y = M x from `first` on; returns their part of the sum wanted."""
    ACC: tl.constexpr = y.dtype.element_ty
    outer, rows, inner = extents
    inner = known_multiple(inner, WIDE)
    r = first + tl.arange(0, BLOCK_ROWS)
    mine = r < rows
    start = weight + (r.to(tl.int64) * inner)[:, None]
    total = tl.zeros((BLOCK_ROWS, BLOCK_COLS), ACC)
    for step in range(0, outer * inner, BLOCK_COLS):
        c = step + tl.arange(0, BLOCK_COLS)
        valid = c < outer * inner
        if scale is None:
            entries = tl.load(x + turned(c, outer * inner, turn), mask=valid, other=0.0).to(ACC)
        else:
            entries = tl.load(x + c, mask=valid, other=0.0) * scale
        offsets = _columns(c, extents, WIDE)[None, :]
        block = tl.load(start + offsets, mask=mine[:, None] & valid[None, :], other=0.0)
        total += block.to(ACC) * entries[None, :]
    sums = tl.sum(total, 1)
    tl.store(y + r, sums, mask=mine)
    return _sum_of_products(sums, other, r, mine)


@triton.jit
def _times_left(
    weight, x, scale, y, other, first, extents,
    WIDE: tl.constexpr, BLOCK_ROWS: tl.constexpr, BLOCK_COLS: tl.constexpr,
):  # fmt: skip
    """Entries of the right vector y = Mᵀx from `first` on; returns their part of the sum wanted."""
    ACC: tl.constexpr = y.dtype.element_ty
    outer, rows, inner = extents
    inner = known_multiple(inner, WIDE)
    c = first + tl.arange(0, BLOCK_COLS)
    mine = c < outer * inner
    start = weight + _columns(c, extents, WIDE)[None, :]
    total = tl.zeros((BLOCK_ROWS, BLOCK_COLS), ACC)
    for step in range(0, rows, BLOCK_ROWS):
        r = step + tl.arange(0, BLOCK_ROWS)
        valid = r < rows
        entries = tl.load(x + r, mask=valid, other=0.0).to(ACC)
        if scale is not None:
            entries *= scale
        offsets = (r.to(tl.int64) * inner)[:, None]
        block = tl.load(start + offsets, mask=valid[:, None] & mine[None, :], other=0.0)
        total += block.to(ACC) * entries[:, None]
    sums = tl.sum(total, 0)
    tl.store(y + c, sums, mask=mine)
    return _sum_of_products(sums, other, c, mine)


@triton.jit
def spectral_norm_product_kernel(
    programs_ptr,  # [programs]: the weight of each
    layers_ptr,  # [weights, FIELDS]
    weights,  # tuple of [outer, rows, inner]
    vectors,  # tuple of vectors to multiply with, or None: those in the scratch memory, normalised
    others,  # tuple of vectors whose products with the results are summed, or None: the results themselves
    scratch_ptr,  # u and v of every weight, of the accumulating dtype
    vector_sums_ptr,  # partial sums of the squares of the vectors in the scratch memory, or None
    sums_ptr,  # [programs]: partial sums
    eps: tl.float64,
    STAGE: tl.constexpr,
    MOST: tl.constexpr,  # partial sums of one weight
    WIDE: tl.constexpr,  # elements of 16 bytes
    LEFT_ROWS: tl.constexpr,
    LEFT_COLS: tl.constexpr,
    RIGHT_ROWS: tl.constexpr,
    RIGHT_COLS: tl.constexpr,
):
    ACC: tl.constexpr = scratch_ptr.dtype.element_ty
    layer = tl.load(programs_ptr + tl.program_id(0))
    weight, x, other = pick(weights, layer), None, None
    if vectors is not None:
        x = pick(vectors, layer)
    if others is not None:
        other = pick(others, layer)
    line = layers_ptr + layer * FIELDS
    extents = read_extents(line)
    turn = tl.load(line + TURN)
    index, _ = own_share(line, STAGE)
    scale = None
    if vectors is None:
        x = scratch_ptr + tl.load(line + VECTORS + 1 - STAGE) * ALIGNED
        _, factor = norm_of(vector_sums_ptr, line, eps, 1 - STAGE, MOST)
        scale = factor.to(ACC)
    y = scratch_ptr + tl.load(line + VECTORS + STAGE) * ALIGNED
    wide = (extents[0] == 1) & (extents[2] % WIDE == 0)
    if (tl.load(line + TRANSPOSED) == 1) == (STAGE == V):
        start = index * LEFT_ROWS
        if wide:
            part = _times_right(weight, x, scale, y, other, start, extents, turn, WIDE, LEFT_ROWS, LEFT_COLS)
        else:
            part = _times_right(weight, x, scale, y, other, start, extents, turn, 1, LEFT_ROWS, LEFT_COLS // 4)
    else:
        start = index * RIGHT_COLS
        if wide:
            part = _times_left(weight, x, scale, y, other, start, extents, WIDE, RIGHT_ROWS, RIGHT_COLS)
        else:
            part = _times_left(weight, x, scale, y, other, start, extents, 1, RIGHT_ROWS // 4, RIGHT_COLS)
    tl.store(sums_ptr + tl.program_id(0), part)


@triton.jit
def _divide(
    weight, sigma, output, share, extents, WIDE: tl.constexpr, BLOCK_ROWS: tl.constexpr, BLOCK_COLS: tl.constexpr
):
    lines, width = lines_of(extents, WIDE)
    for tile in range(share[0], count_tiles(lines, width, BLOCK_ROWS, BLOCK_COLS), share[1]):
        _, _, offsets, mask = tile_at(tile, lines, width, BLOCK_ROWS, BLOCK_COLS)
        w = tl.load(weight + offsets, mask=mask).to(sigma.dtype)
        tl.store(output + offsets, (w / sigma).to(output.dtype.element_ty), mask=mask)


@triton.jit
def _write_vector(given, source, factor, target, index, length, turn):
    """A program's block of a new vector: normalised from the scratch memory, or copied from the one given."""
    i = index * ENTRIES + tl.arange(0, ENTRIES)
    mask = i < length
    if given is None:
        entries = tl.load(source + i, mask=mask) * factor
        tl.store(target + turned(i, length, turn), entries.to(target.dtype.element_ty), mask=mask)
    else:
        tl.store(target + i, tl.load(given + i, mask=mask), mask=mask)


@triton.jit
def spectral_norm_finish_kernel(
    programs_ptr,  # [programs]: the weight of each
    layers_ptr,  # [weights, FIELDS]
    weights,  # tuple of [outer, rows, inner]
    outputs,  # tuple of [outer, rows, inner], or empty where none is to be written
    sigmas,  # tuple of scalars
    new_us,  # tuple of [rows]
    new_vs,  # tuple of [columns]
    us,  # tuple of [rows], or None after an iteration
    vs,  # tuple of [columns], or None after an iteration
    scratch_ptr,  # u and v of every weight, before they are normalised
    u_sums_ptr,  # partial sums of u's squares, or, where there was no iteration, of sigma
    v_sums_ptr,  # partial sums of v's squares, or None
    eps: tl.float64,
    LAST: tl.constexpr,  # the last stage, whose vector's norm gives sigma
    MOST: tl.constexpr,  # partial sums of one weight
    WIDE: tl.constexpr,
    BLOCK_ROWS: tl.constexpr,
    BLOCK_COLS: tl.constexpr,
):
    ACC: tl.constexpr = scratch_ptr.dtype.element_ty
    layer = tl.load(programs_ptr + tl.program_id(0))
    weight, output, sigma_ptr = pick(weights, layer), pick(outputs, layer), pick(sigmas, layer)
    new_u, new_v, u, v = pick(new_us, layer), pick(new_vs, layer), None, None
    if us is not None:
        u, v = pick(us, layer), pick(vs, layer)
    line = layers_ptr + layer * FIELDS
    extents = read_extents(line)
    turn = tl.load(line + TURN)
    share = own_share(line, ELEMENTS)
    u_factor, v_factor = 1.0, 1.0
    if us is None:
        u_norm, u_factor = norm_of(u_sums_ptr, line, eps, U, MOST)
        v_norm, v_factor = norm_of(v_sums_ptr, line, eps, V, MOST)
        u_factor, v_factor = u_factor.to(ACC), v_factor.to(ACC)
        sigma = (u_norm * (u_norm * u_factor) if LAST == U else v_norm * (v_norm * v_factor)).to(ACC)
    else:
        sigma = total_of(u_sums_ptr, line, U, MOST).to(ACC)
    outer, rows, inner = extents
    transposed = tl.load(line + TRANSPOSED) == 1
    source = scratch_ptr + tl.load(line + VECTORS) * ALIGNED
    length = tl.where(transposed, inner, rows)
    _write_vector(u, source, u_factor, new_u, share[0], length, 1)
    source = scratch_ptr + tl.load(line + VECTORS + 1) * ALIGNED
    length = tl.where(transposed, rows, outer * inner)
    _write_vector(v, source, v_factor, new_v, share[0], length, turn)
    tl.store(sigma_ptr, sigma, mask=share[0] == 0)
    if tl.load(line + WRITTEN) == 1:
        if lines_of(extents, 1)[1] % WIDE == 0:
            _divide(weight, sigma, output, share, extents, WIDE, BLOCK_ROWS, BLOCK_COLS)
        else:
            _divide(weight, sigma, output, share, extents, 1, BLOCK_ROWS // 4, BLOCK_COLS)
