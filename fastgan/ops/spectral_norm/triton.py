"""spectral_norm in Triton, for NVIDIA and AMD: a whole group of weights in 2n + 1 launches forward, 2 backward.

A weight is read where it lies, as a matrix [outer, rows, inner] in memory whose row r is all (o, r, i). Where the
columns lie together instead (inner = 1: a channels_last transposed convolution), as the transposed of that. The vector
along the rows of what is read is called left, the other one right: u and v, or v and u where it is transposed.

Which weight a program works on, and the weights' extents, stand in tables on the device, which depend on shapes alone
and are built once. The tensors' addresses go by value, as tuples of pointers: a call copies nothing from the host.
A launch has room for 62 weights or more (:func:`_groups`); longer lists take several.

Sums that cross programs are written as partial sums, one a program, and every program that needs the sum adds them up
anew, in fixed order: no atomics. They are float64, in which no square of a float32 overflows or vanishes.
"""

# No `from __future__ import annotations` where kernels live: Triton reads their annotations.
# mypy: disable-error-code=no-untyped-def
# ruff: noqa: RET505
import functools
import math
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from fastgan.ops.layout import channel_extents, dense, match_layout
from fastgan.ops.spectral_norm.matrix import columns_in_memory, columns_of
from fastgan.ops.spectral_norm.reference import accumulator
from fastgan.ops.triton_support import tl, triton, unsupported_reason

__all__ = ["spectral_norm", "spectral_norm_backward", "spectral_norm_double_backward", "unsupported_reason"]

# A stage is a way to share the weights among programs.
_U = tl.constexpr(0)  # to compute u = W v
_V = tl.constexpr(1)  # to compute v = Wᵀu
_ELEMENTS = tl.constexpr(2)  # element by element

# What stands where in a weight's line of the table (see _plan).
_OUTER = tl.constexpr(0)
_ROWS = tl.constexpr(1)
_INNER = tl.constexpr(2)
_TRANSPOSED = tl.constexpr(3)
_TURN = tl.constexpr(4)
_WRITTEN = tl.constexpr(5)
_VECTORS = tl.constexpr(6)  # two entries: where u and v are in the scratch memory
_SHARES = tl.constexpr(8)  # two entries a stage: the first of the weight's programs, and their number
_FIELDS = tl.constexpr(14)

#: Vectors start at multiples of so many elements of the scratch memory.
_ALIGNED = tl.constexpr(16)
#: Partial sums added up at once.
_SUMS = tl.constexpr(512)
#: Entries of a vector handled at once.
_ENTRIES = tl.constexpr(1024)


@triton.jit
def _pick(pointers, layer):
    """A weight's pointer out of a tuple.

    To be called before anything that compiles to a branch or loop: AMD's compiler loads all pointers first, and would
    keep them in registers until then.
    """
    pointer = pointers[0]
    for i in tl.static_range(1, len(pointers)):
        if layer == i:
            pointer = pointers[i]
    return pointer


@triton.jit
def _share(line, STAGE: tl.constexpr):
    """The first of the programs that share a weight, and their number."""
    return tl.load(line + _SHARES + 2 * STAGE), tl.load(line + _SHARES + 2 * STAGE + 1)


@triton.jit
def _own_share(line, STAGE: tl.constexpr):
    """Which of the programs that share the weight this one is, and their number."""
    first, count = _share(line, STAGE)
    return tl.program_id(0) - first, count


@triton.jit
def _extents(line):
    return tl.load(line + _OUTER), tl.load(line + _ROWS), tl.load(line + _INNER)


@triton.jit
def _multiple(n, WIDE: tl.constexpr):
    """`n`, and the compiler knows that it is a multiple of `WIDE`."""
    return n // WIDE * WIDE


@triton.jit
def _turned(c, columns, turn):
    """Where v has its entry for the column that is number c in memory: memory's [turn, rest] is v's [rest, turn]."""
    rest = columns // turn
    return c % rest * turn + c // rest


@triton.jit
def _total(sums_ptr, line, STAGE: tl.constexpr, MOST: tl.constexpr):
    """Of a weight's partial sums, of which there are at most `MOST`; no loop, for _pick's sake."""
    first, count = _share(line, STAGE)
    total = tl.zeros((_SUMS,), tl.float64)
    for start in tl.static_range(0, MOST, _SUMS):
        i = start + tl.arange(0, _SUMS)
        total += tl.load(sums_ptr + first + i, mask=i < count, other=0.0)
    return tl.sum(total)


@triton.jit
def _norm(sums_ptr, line, eps, STAGE: tl.constexpr, MOST: tl.constexpr):
    """A vector's norm, from the partial sums of its squares, and the factor that normalises it."""
    norm = tl.sqrt(_total(sums_ptr, line, STAGE, MOST))
    return norm, 1.0 / tl.where(norm < eps, eps, norm)


# ---- products with the matrix ---------------------------------------------------------------------------------------


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
    inner = _multiple(inner, WIDE)
    r = first + tl.arange(0, BLOCK_ROWS)
    mine = r < rows
    start = weight + (r.to(tl.int64) * inner)[:, None]
    total = tl.zeros((BLOCK_ROWS, BLOCK_COLS), ACC)
    for step in range(0, outer * inner, BLOCK_COLS):
        c = step + tl.arange(0, BLOCK_COLS)
        valid = c < outer * inner
        if scale is None:
            entries = tl.load(x + _turned(c, outer * inner, turn), mask=valid, other=0.0).to(ACC)
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
    inner = _multiple(inner, WIDE)
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
    layers_ptr,  # [weights, _FIELDS]
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
    weight, x, other = _pick(weights, layer), None, None
    if vectors is not None:
        x = _pick(vectors, layer)
    if others is not None:
        other = _pick(others, layer)
    line = layers_ptr + layer * _FIELDS
    extents = _extents(line)
    turn = tl.load(line + _TURN)
    index, _ = _own_share(line, STAGE)
    scale = None
    if vectors is None:
        x = scratch_ptr + tl.load(line + _VECTORS + 1 - STAGE) * _ALIGNED
        _, factor = _norm(vector_sums_ptr, line, eps, 1 - STAGE, MOST)
        scale = factor.to(ACC)
    y = scratch_ptr + tl.load(line + _VECTORS + STAGE) * _ALIGNED
    wide = (extents[0] == 1) & (extents[2] % WIDE == 0)
    if (tl.load(line + _TRANSPOSED) == 1) == (STAGE == _V):
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


# ---- element by element ---------------------------------------------------------------------------------------------


@triton.jit
def _lines(extents, WIDE: tl.constexpr):
    """A weight as a matrix whose rows, here called lines, lie together: their number and width."""
    outer, rows, inner = extents
    return tl.where(outer == 1, rows, outer), _multiple(tl.where(outer == 1, inner, rows * inner), WIDE)


@triton.jit
def _tiles(lines, width, BLOCK_ROWS: tl.constexpr, BLOCK_COLS: tl.constexpr):
    return tl.cdiv(lines, BLOCK_ROWS) * tl.cdiv(width, BLOCK_COLS)


@triton.jit
def _tile(tile, lines, width, BLOCK_ROWS: tl.constexpr, BLOCK_COLS: tl.constexpr):
    """A tile's lines [BLOCK_ROWS, 1], places in them [1, BLOCK_COLS], offsets in memory, and what is valid."""
    across = tl.cdiv(width, BLOCK_COLS)
    a = tile // across * BLOCK_ROWS + tl.arange(0, BLOCK_ROWS)[:, None]
    m = tile % across * BLOCK_COLS + tl.arange(0, BLOCK_COLS)[None, :]
    return a, m, a.to(tl.int64) * width + m, (a < lines) & (m < width)


@triton.jit
def _rank_one(left, right, a, m, mask, extents, turn, ACC: tl.constexpr):
    """The tile of E = u vᵀ."""
    outer, rows, inner = extents
    if outer == 1:
        e = tl.load(left + a, mask=a < rows).to(ACC) * tl.load(right + _turned(m, inner, turn), mask=m < inner).to(ACC)
    else:
        e = tl.load(left + m // inner, mask=m < rows * inner).to(ACC)
        e = e * tl.load(right + a * inner + m % inner, mask=mask).to(ACC)
    return e


@triton.jit
def _divide(
    weight, sigma, output, share, extents, WIDE: tl.constexpr, BLOCK_ROWS: tl.constexpr, BLOCK_COLS: tl.constexpr
):
    lines, width = _lines(extents, WIDE)
    for tile in range(share[0], _tiles(lines, width, BLOCK_ROWS, BLOCK_COLS), share[1]):
        _, _, offsets, mask = _tile(tile, lines, width, BLOCK_ROWS, BLOCK_COLS)
        w = tl.load(weight + offsets, mask=mask).to(sigma.dtype)
        tl.store(output + offsets, (w / sigma).to(output.dtype.element_ty), mask=mask)


@triton.jit
def _write_vector(given, source, factor, target, index, length, turn):
    """A program's block of a new vector: normalised from the scratch memory, or copied from the one given."""
    i = index * _ENTRIES + tl.arange(0, _ENTRIES)
    mask = i < length
    if given is None:
        entries = tl.load(source + i, mask=mask) * factor
        tl.store(target + _turned(i, length, turn), entries.to(target.dtype.element_ty), mask=mask)
    else:
        tl.store(target + i, tl.load(given + i, mask=mask), mask=mask)


@triton.jit
def spectral_norm_finish_kernel(
    programs_ptr,  # [programs]: the weight of each
    layers_ptr,  # [weights, _FIELDS]
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
    weight, output, sigma_ptr = _pick(weights, layer), _pick(outputs, layer), _pick(sigmas, layer)
    new_u, new_v, u, v = _pick(new_us, layer), _pick(new_vs, layer), None, None
    if us is not None:
        u, v = _pick(us, layer), _pick(vs, layer)
    line = layers_ptr + layer * _FIELDS
    extents = _extents(line)
    turn = tl.load(line + _TURN)
    share = _own_share(line, _ELEMENTS)
    u_factor, v_factor = 1.0, 1.0
    if us is None:
        u_norm, u_factor = _norm(u_sums_ptr, line, eps, _U, MOST)
        v_norm, v_factor = _norm(v_sums_ptr, line, eps, _V, MOST)
        u_factor, v_factor = u_factor.to(ACC), v_factor.to(ACC)
        sigma = (u_norm * (u_norm * u_factor) if LAST == _U else v_norm * (v_norm * v_factor)).to(ACC)
    else:
        sigma = _total(u_sums_ptr, line, _U, MOST).to(ACC)
    outer, rows, inner = extents
    transposed = tl.load(line + _TRANSPOSED) == 1
    source = scratch_ptr + tl.load(line + _VECTORS) * _ALIGNED
    length = tl.where(transposed, inner, rows)
    _write_vector(u, source, u_factor, new_u, share[0], length, 1)
    source = scratch_ptr + tl.load(line + _VECTORS + 1) * _ALIGNED
    length = tl.where(transposed, rows, outer * inner)
    _write_vector(v, source, v_factor, new_v, share[0], length, turn)
    tl.store(sigma_ptr, sigma, mask=share[0] == 0)
    if tl.load(line + _WRITTEN) == 1:
        if _lines(extents, 1)[1] % WIDE == 0:
            _divide(weight, sigma, output, share, extents, WIDE, BLOCK_ROWS, BLOCK_COLS)
        else:
            _divide(weight, sigma, output, share, extents, 1, BLOCK_ROWS // 4, BLOCK_COLS)


@triton.jit
def _dot(
    grad_output, weight, share, extents,
    ACC: tl.constexpr, WIDE: tl.constexpr, BLOCK_ROWS: tl.constexpr, BLOCK_COLS: tl.constexpr,
):  # fmt: skip
    lines, width = _lines(extents, WIDE)
    total = tl.zeros((BLOCK_ROWS, BLOCK_COLS), ACC)
    for tile in range(share[0], _tiles(lines, width, BLOCK_ROWS, BLOCK_COLS), share[1]):
        _, _, offsets, mask = _tile(tile, lines, width, BLOCK_ROWS, BLOCK_COLS)
        g = tl.load(grad_output + offsets, mask=mask, other=0.0).to(ACC)
        total += g * tl.load(weight + offsets, mask=mask, other=0.0).to(ACC)
    return tl.sum(total).to(tl.float64)


@triton.jit
def spectral_norm_bwd_dot_kernel(
    programs_ptr,  # [programs]: the weight of each
    layers_ptr,  # [weights, _FIELDS]
    grad_outputs,  # tuple of [outer, rows, inner]
    weights,  # tuple of [outer, rows, inner]
    sums_ptr,  # [programs]: partial sums of ⟨G, W⟩
    ACC: tl.constexpr,
    WIDE: tl.constexpr,
    BLOCK_ROWS: tl.constexpr,
    BLOCK_COLS: tl.constexpr,
):
    layer = tl.load(programs_ptr + tl.program_id(0))
    g, w = _pick(grad_outputs, layer), _pick(weights, layer)
    line = layers_ptr + layer * _FIELDS
    extents = _extents(line)
    share = _own_share(line, _ELEMENTS)
    if _lines(extents, 1)[1] % WIDE == 0:
        part = _dot(g, w, share, extents, ACC, WIDE, BLOCK_ROWS, BLOCK_COLS)
    else:
        part = _dot(g, w, share, extents, ACC, 1, BLOCK_ROWS // 4, BLOCK_COLS)
    tl.store(sums_ptr + tl.program_id(0), part)


@triton.jit
def _sides(u, v, line):
    """The left and the right vector."""
    left, right = u, v
    if tl.load(line + _TRANSPOSED) == 1:
        left, right = v, u
    return left, right


@triton.jit
def _gradient(
    grad_output, left, right, inverse_sigma, along, grad_weight, share, extents, turn,
    WIDE: tl.constexpr, BLOCK_ROWS: tl.constexpr, BLOCK_COLS: tl.constexpr,
):  # fmt: skip
    ACC: tl.constexpr = along.dtype
    lines, width = _lines(extents, WIDE)
    for tile in range(share[0], _tiles(lines, width, BLOCK_ROWS, BLOCK_COLS), share[1]):
        a, m, offsets, mask = _tile(tile, lines, width, BLOCK_ROWS, BLOCK_COLS)
        g = tl.load(grad_output + offsets, mask=mask).to(ACC)
        e = _rank_one(left, right, a, m, mask, extents, turn, ACC)
        grad = g * inverse_sigma - along * e
        tl.store(grad_weight + offsets, grad.to(grad_weight.dtype.element_ty), mask=mask)


@triton.jit
def spectral_norm_bwd_kernel(
    programs_ptr,  # [programs]: the weight of each
    layers_ptr,  # [weights, _FIELDS]
    grad_outputs,  # tuple of [outer, rows, inner]
    sigmas,  # tuple of scalars
    us,  # tuple of [rows]
    vs,  # tuple of [columns]
    grad_weights,  # tuple of [outer, rows, inner]
    sums_ptr,  # [programs]: partial sums of ⟨G, W⟩
    MOST: tl.constexpr,  # partial sums of one weight
    WIDE: tl.constexpr,
    BLOCK_ROWS: tl.constexpr,
    BLOCK_COLS: tl.constexpr,
):
    layer = tl.load(programs_ptr + tl.program_id(0))
    g, result = _pick(grad_outputs, layer), _pick(grad_weights, layer)
    u, v, sigma_ptr = _pick(us, layer), _pick(vs, layer), _pick(sigmas, layer)
    line = layers_ptr + layer * _FIELDS
    extents = _extents(line)
    turn = tl.load(line + _TURN)
    share = _own_share(line, _ELEMENTS)
    left, right = _sides(u, v, line)
    sigma = tl.load(sigma_ptr)
    along = _total(sums_ptr, line, _ELEMENTS, MOST).to(sigma.dtype) / sigma / sigma
    inverse = 1.0 / sigma
    if _lines(extents, 1)[1] % WIDE == 0:
        _gradient(g, left, right, inverse, along, result, share, extents, turn, WIDE, BLOCK_ROWS, BLOCK_COLS)
    else:
        _gradient(g, left, right, inverse, along, result, share, extents, turn, 1, BLOCK_ROWS // 4, BLOCK_COLS)


@triton.jit
def _double_dots(
    grad_grad_weight, grad_output, weight, left, right, share, extents, turn,
    ACC: tl.constexpr, WIDE: tl.constexpr, BLOCK_ROWS: tl.constexpr, BLOCK_COLS: tl.constexpr,
):  # fmt: skip
    lines, width = _lines(extents, WIDE)
    h_e = tl.zeros((BLOCK_ROWS, BLOCK_COLS), ACC)
    h_g = tl.zeros((BLOCK_ROWS, BLOCK_COLS), ACC)
    g_w = tl.zeros((BLOCK_ROWS, BLOCK_COLS), ACC)
    for tile in range(share[0], _tiles(lines, width, BLOCK_ROWS, BLOCK_COLS), share[1]):
        a, m, offsets, mask = _tile(tile, lines, width, BLOCK_ROWS, BLOCK_COLS)
        h = tl.load(grad_grad_weight + offsets, mask=mask, other=0.0).to(ACC)
        g = tl.load(grad_output + offsets, mask=mask, other=0.0).to(ACC)
        e = _rank_one(left, right, a, m, mask, extents, turn, ACC)
        h_e += tl.where(mask, h * e, 0.0)
        h_g += h * g
        g_w += g * tl.load(weight + offsets, mask=mask, other=0.0).to(ACC)
    return tl.sum(h_e).to(tl.float64), tl.sum(h_g).to(tl.float64), tl.sum(g_w).to(tl.float64)


@triton.jit
def spectral_norm_double_bwd_dots_kernel(
    programs_ptr,  # [programs]: the weight of each
    layers_ptr,  # [weights, _FIELDS]
    grad_grad_weights,  # tuple of [outer, rows, inner]
    grad_outputs,  # tuple of [outer, rows, inner]
    weights,  # tuple of [outer, rows, inner]
    us,  # tuple of [rows]
    vs,  # tuple of [columns]
    sums_ptr,  # [3, programs]: partial sums of ⟨H, E⟩, ⟨H, G⟩, ⟨G, W⟩
    ACC: tl.constexpr,
    WIDE: tl.constexpr,
    BLOCK_ROWS: tl.constexpr,
    BLOCK_COLS: tl.constexpr,
):
    layer = tl.load(programs_ptr + tl.program_id(0))
    h, g, w = _pick(grad_grad_weights, layer), _pick(grad_outputs, layer), _pick(weights, layer)
    u, v = _pick(us, layer), _pick(vs, layer)
    line = layers_ptr + layer * _FIELDS
    extents = _extents(line)
    turn = tl.load(line + _TURN)
    share = _own_share(line, _ELEMENTS)
    left, right = _sides(u, v, line)
    if _lines(extents, 1)[1] % WIDE == 0:
        h_e, h_g, g_w = _double_dots(h, g, w, left, right, share, extents, turn, ACC, WIDE, BLOCK_ROWS, BLOCK_COLS)
    else:
        h_e, h_g, g_w = _double_dots(h, g, w, left, right, share, extents, turn, ACC, 1, BLOCK_ROWS // 4, BLOCK_COLS)
    sums_ptr += tl.program_id(0)
    tl.store(sums_ptr, h_e)
    tl.store(sums_ptr + tl.num_programs(0), h_g)
    tl.store(sums_ptr + 2 * tl.num_programs(0), g_w)


@triton.jit
def _second(
    grad_grad_weight, grad_output, weight, left, right, inverse_sigma, h_e, along, grad_grad_output, grad_weight,
    share, extents, turn, WIDE: tl.constexpr, BLOCK_ROWS: tl.constexpr, BLOCK_COLS: tl.constexpr,
):  # fmt: skip
    ACC: tl.constexpr = h_e.dtype
    OUT: tl.constexpr = grad_weight.dtype.element_ty
    lines, width = _lines(extents, WIDE)
    for tile in range(share[0], _tiles(lines, width, BLOCK_ROWS, BLOCK_COLS), share[1]):
        a, m, offsets, mask = _tile(tile, lines, width, BLOCK_ROWS, BLOCK_COLS)
        h = tl.load(grad_grad_weight + offsets, mask=mask).to(ACC)
        w = tl.load(weight + offsets, mask=mask).to(ACC)
        tl.store(grad_grad_output + offsets, (h * inverse_sigma - h_e * w).to(OUT), mask=mask)
        g = tl.load(grad_output + offsets, mask=mask).to(ACC)
        e = _rank_one(left, right, a, m, mask, extents, turn, ACC)
        tl.store(grad_weight + offsets, (along * e - h_e * g).to(OUT), mask=mask)


@triton.jit
def spectral_norm_double_bwd_kernel(
    programs_ptr,  # [programs]: the weight of each
    layers_ptr,  # [weights, _FIELDS]
    grad_grad_weights,  # tuple of [outer, rows, inner]
    grad_outputs,  # tuple of [outer, rows, inner]
    weights,  # tuple of [outer, rows, inner]
    sigmas,  # tuple of scalars
    us,  # tuple of [rows]
    vs,  # tuple of [columns]
    grad_grad_outputs,  # tuple of [outer, rows, inner]
    grad_weights,  # tuple of [outer, rows, inner]
    sums_ptr,  # [3, programs]: partial sums of ⟨H, E⟩, ⟨H, G⟩, ⟨G, W⟩
    MOST: tl.constexpr,  # partial sums of one weight
    WIDE: tl.constexpr,
    BLOCK_ROWS: tl.constexpr,
    BLOCK_COLS: tl.constexpr,
):
    layer = tl.load(programs_ptr + tl.program_id(0))
    h, g, w = _pick(grad_grad_weights, layer), _pick(grad_outputs, layer), _pick(weights, layer)
    u, v, sigma_ptr = _pick(us, layer), _pick(vs, layer), _pick(sigmas, layer)
    dg, dw = _pick(grad_grad_outputs, layer), _pick(grad_weights, layer)
    line = layers_ptr + layer * _FIELDS
    extents = _extents(line)
    turn = tl.load(line + _TURN)
    share = _own_share(line, _ELEMENTS)
    left, right = _sides(u, v, line)
    sigma = tl.load(sigma_ptr)
    h_e = _total(sums_ptr, line, _ELEMENTS, MOST).to(sigma.dtype) / sigma / sigma
    h_g = _total(sums_ptr + tl.num_programs(0), line, _ELEMENTS, MOST).to(sigma.dtype) / sigma / sigma
    g_w = _total(sums_ptr + 2 * tl.num_programs(0), line, _ELEMENTS, MOST).to(sigma.dtype) / sigma
    along = 2.0 * g_w * h_e - h_g
    inverse = 1.0 / sigma
    if _lines(extents, 1)[1] % WIDE == 0:
        _second(h, g, w, left, right, inverse, h_e, along, dg, dw, share, extents, turn, WIDE, BLOCK_ROWS, BLOCK_COLS)
    else:
        _second(h, g, w, left, right, inverse, h_e, along, dg, dw, share, extents, turn, 1, BLOCK_ROWS // 4, BLOCK_COLS)


# ---- plans ----------------------------------------------------------------------------------------------------------


#: Elements of a block: eight 16-byte loads of a float32 thread.
_BLOCK = 4096
#: Programs among which a large group's elements are shared.
_PROGRAMS = 2048
#: Elements of a line of a weight: places in it are 32-bit numbers.
_LONGEST = 1 << 30


class _Blocks(NamedTuple):
    """Sizes of blocks, for the kernels; by dtype alone, so that results do not depend on the device."""

    wide: int
    left: tuple[int, int]
    right: tuple[int, int]
    elements: tuple[int, int]

    @classmethod
    def of(cls, dtype: torch.dtype, tensors: int = 1) -> "_Blocks":
        """For elementwise passes over so many times the tensors that the forward pass has."""
        block = _BLOCK // 2 if dtype == torch.float64 else _BLOCK
        # Pieces of lines: 256 bytes or more where neighbours are read by programs next to each other, else 512.
        right, elements = max(64, 256 // dtype.itemsize), 512 // dtype.itemsize
        return cls(
            wide=16 // dtype.itemsize,
            left=(8, block // 8),
            right=(block // right, right),
            elements=(block // (elements * tensors), elements),
        )

    def product(self) -> dict[str, Any]:
        """The product kernel's compile-time arguments."""
        left, right = self.left, self.right
        return {
            "WIDE": self.wide,
            "LEFT_ROWS": left[0],
            "LEFT_COLS": left[1],
            "RIGHT_ROWS": right[0],
            "RIGHT_COLS": right[1],
        }

    def elementwise(self) -> dict[str, Any]:
        """The elementwise kernels' compile-time arguments."""
        rows, cols = self.elements
        return {"WIDE": self.wide, "BLOCK_ROWS": rows, "BLOCK_COLS": cols}


def _turn(weight: Tensor, dim: int) -> int:
    """The leading extent in memory of columns that lie as [turn, rest] there, [rest, turn] in v; 0 if they do not."""
    moving = [d for d in range(weight.dim()) if d != dim and weight.shape[d] != 1]
    in_memory = sorted(moving, key=weight.stride, reverse=True)
    k = moving.index(in_memory[0]) if moving else 0
    if moving[k:] + moving[:k] != in_memory:
        return 0
    return math.prod(weight.shape[d] for d in moving[k:]) if k else 1


class _Layer(NamedTuple):
    """What the tables say of one weight."""

    outer: int
    rows: int
    inner: int
    transposed: bool
    turn: int
    written: bool

    @classmethod
    def of(cls, weight: Tensor, dim: int, written: bool) -> "tuple[_Layer, bool]":
        """The weight's line, and whether v's entries are to be brought into the order of memory first."""
        outer, rows, inner = channel_extents(weight, dim)
        turn = _turn(weight, dim)
        if inner == 1:
            layer, permuted = cls(1, outer, rows, True, 1, written), turn != 1
        elif outer == 1 and turn:
            layer, permuted = cls(1, rows, inner, False, turn, written), False
        else:
            layer, permuted = cls(outer, rows, inner, False, 1, written), turn != 1
        if layer.lines()[1] > _LONGEST:
            raise NotImplementedError(
                f"spectral_norm: the Triton kernels take weights with at most {_LONGEST} elements to a row, and to an "
                f"index of the dimensions before dim, got {list(weight.shape)} with dim={dim}"
            )
        return layer, permuted

    def lines(self) -> tuple[int, int]:
        """Number and width of the lines that the elementwise kernels see."""
        return (self.rows, self.inner) if self.outer == 1 else (self.outer, self.rows * self.inner)

    def vectors(self) -> tuple[int, int]:
        """Lengths of u and v."""
        sides = (self.rows, self.outer * self.inner)
        return sides[::-1] if self.transposed else sides

    def tiles(self, blocks: _Blocks) -> int:
        """Tiles that cover the lines."""
        return math.prod(triton.cdiv(size, block) for size, block in zip(self.lines(), blocks.elements, strict=True))

    def products(self, stage: int, blocks: _Blocks) -> tuple[int, int]:
        """Programs that compute u or v, and how much each has to read."""
        columns = self.outer * self.inner
        if self.transposed == (stage == 1):
            return triton.cdiv(self.rows, blocks.left[0]), columns * blocks.left[0]
        return triton.cdiv(columns, blocks.right[1]), self.rows * blocks.right[1]


class _Plan(NamedTuple):
    """The tables of a group of weights."""

    layers: Tensor  # [weights, _FIELDS]
    programs: tuple[Tensor, ...]  # for each stage, the weight of each program
    most: int  # partial sums of one weight
    scratch: int  # elements that the vectors take
    permuted: tuple[bool, ...]  # whose v is brought into memory's order, and back, by a copy

    def sums(self, stage: int, *sizes: int) -> Tensor:
        """Memory for partial sums of a stage."""
        return self.layers.new_empty(*sizes, len(self.programs[stage]), dtype=torch.float64)


#: A weight's shape, strides and dim, and whether its output is written.
_Described = tuple[tuple[int, ...], tuple[int, ...], int, bool]


# Kept for as long as the process: captured CUDA graphs read the tables.
@functools.cache
def _plan(weights: tuple[_Described, ...], blocks: _Blocks, device: torch.device) -> _Plan:
    """Share weights among programs. The first call for a group copies the tables to the device."""
    layers, permuted = [], []
    for shape, strides, dim, written in weights:
        layer, copied = _Layer.of(torch.empty_strided(shape, strides, device="meta"), dim, written)
        layers.append(layer)
        permuted.append(copied)
    steps = max(1, sum(layer.tiles(blocks) for layer in layers if layer.written) // _PROGRAMS)
    # An elementwise kernel's program may also write a block of new vectors.
    elements = [
        (max(layer.tiles(blocks) // steps * layer.written, triton.cdiv(max(layer.vectors()), _ENTRIES.value)), 0)
        for layer in layers
    ]
    shares = [*([layer.products(stage, blocks) for layer in layers] for stage in (0, 1)), elements]
    lines = [[*layer] for layer in layers]
    at = 0
    for line, layer in zip(lines, layers, strict=True):
        for length in layer.vectors():
            line.append(at)
            at += triton.cdiv(length, _ALIGNED.value)
    programs = []
    for share in shares:
        first, of = [0] * len(layers), list[int]()
        for i in sorted(range(len(layers)), key=lambda i: -share[i][1]):  # those with the most to read come first
            first[i] = len(of)
            of += [i] * share[i][0]
        for line, start, (count, _) in zip(lines, first, share, strict=True):
            line += (start, count)
        programs.append(torch.tensor(of, dtype=torch.int32, device=device))
    most = triton.next_power_of_2(max(count for share in shares for count, _ in share))
    table = torch.tensor(lines, dtype=torch.int32, device=device)
    return _Plan(table, tuple(programs), most, _ALIGNED.value * at, tuple(permuted))


# ---- launchers ------------------------------------------------------------------------------------------------------

#: Bytes that a kernel's arguments may have on every device, and those kept for arguments that are no tuples.
_ARGUMENTS, _OTHER_ARGUMENTS = 4096, 128


class _Group(NamedTuple):
    """Weights that share launches."""

    members: list[int]  # which of the call's weights
    weights: list[Tensor]  # the call's
    dims: list[int]
    plan: _Plan
    blocks: _Blocks

    def of(self, tensors: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """The members' tensors, for a kernel."""
        return tuple(tensors[i] for i in self.members)

    def permuted(self) -> list[int]:
        """The members whose v is brought into memory's order by a copy."""
        return [i for i, permuted in zip(self.members, self.plan.permuted, strict=True) if permuted]

    def vectors(self, us: Sequence[Tensor], vs: Sequence[Tensor]) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
        """The members' u and v, for a kernel."""
        given = {i: vs[i] for i in self.members}
        given |= {i: columns_in_memory(vs[i], self.weights[i], self.dims[i]) for i in self.permuted()}
        return tuple(us[i].contiguous() for i in self.members), tuple(v.contiguous() for v in given.values())

    def launch(self, kernel: Any, stage: int, *arguments: Any, **constants: Any) -> None:
        programs = self.plan.programs[stage]
        kernel[(len(programs),)](programs, self.plan.layers, *arguments, **constants, num_warps=4)


def _groups(
    weights: list[Tensor],
    dims: list[int],
    tuples: int,
    materialize: Sequence[bool] | None = None,
    tensors: int = 1,
) -> Iterator[_Group]:
    """Share the weights among calls of kernels with so many tuples of pointers; those without elements are left out."""
    filled = [i for i, weight in enumerate(weights) if weight.numel()]
    most = (_ARGUMENTS - _OTHER_ARGUMENTS) // (8 * tuples)
    blocks = _Blocks.of(weights[0].dtype, tensors)
    for start in range(0, len(filled), most):
        members = filled[start : start + most]
        described = tuple(
            (tuple(weights[i].shape), weights[i].stride(), dims[i], materialize is None or materialize[i])
            for i in members
        )
        yield _Group(members, weights, dims, _plan(described, blocks, weights[0].device), blocks)


def _new_vector(vector: Tensor, weight: Tensor, n_power_iterations: int) -> Tensor:
    """Memory for a new vector; its values too where the weight has no elements, and no kernel writes them."""
    if weight.numel():
        return vector.new_empty(vector.shape)
    return vector.new_zeros(vector.shape) if n_power_iterations else vector.clone(memory_format=torch.contiguous_format)


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
    wide = accumulator(weights[0].dtype)
    outputs = [
        torch.empty_like(w) if wanted else w.new_empty(0) for w, wanted in zip(weights, materialize, strict=True)
    ]
    sigmas = [w.new_empty((), dtype=wide) if w.numel() else w.new_zeros((), dtype=wide) for w in weights]
    new_us, new_vs = (
        [_new_vector(x, weight, n_power_iterations) for x, weight in zip(vectors, weights, strict=True)]
        for vectors in (us, vs)
    )
    order = (1, 0) if v_first else (0, 1)
    # Without an iteration u and v are arguments of the last kernel too.
    for group in _groups(weights, dims, 5 if n_power_iterations else 7, materialize):
        matrices, vectors = group.of(weights), group.vectors(us, vs)
        scratch = weights[0].new_empty(group.plan.scratch, dtype=wide)
        sums = group.plan.sums(0), group.plan.sums(1)
        with torch.cuda.device_of(scratch):
            if n_power_iterations == 0:
                group.launch(
                    spectral_norm_product_kernel, 0, matrices, vectors[1], vectors[0], scratch, None, sums[0], eps,
                    STAGE=0, MOST=group.plan.most, **group.blocks.product(),
                )  # fmt: skip
            for half_step in range(2 * n_power_iterations):
                stage, first = order[half_step % 2], half_step == 0
                group.launch(
                    spectral_norm_product_kernel, stage, matrices, vectors[1 - stage] if first else None, None, scratch,
                    None if first else sums[1 - stage], sums[stage], eps, STAGE=stage,
                    MOST=group.plan.most, **group.blocks.product(),
                )  # fmt: skip
            given = (None, None) if n_power_iterations else vectors
            results = (group.of(outputs), group.of(sigmas), group.of(new_us), group.of(new_vs))
            group.launch(
                spectral_norm_finish_kernel, 2, matrices, *results, *given, scratch, *sums, eps,
                LAST=order[1], MOST=group.plan.most, **group.blocks.elementwise(),
            )  # fmt: skip
        for i in group.permuted():
            new_vs[i] = columns_of(new_vs[i], weights[i], dims[i])
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
    grad_outputs = [match_layout(grad, weight) for grad, weight in zip(grad_outputs, weights, strict=True)]
    grads = [torch.empty_like(weight) for weight in weights]
    wide = tl.float64 if weights[0].dtype == torch.float64 else tl.float32
    for group in _groups(weights, dims, 5):
        cotangents, sums, constants = group.of(grad_outputs), group.plan.sums(2), group.blocks.elementwise()
        vectors = group.vectors(us, vs)
        with torch.cuda.device_of(sums):
            group.launch(spectral_norm_bwd_dot_kernel, 2, cotangents, group.of(weights), sums, ACC=wide, **constants)
            group.launch(
                spectral_norm_bwd_kernel,
                2,
                cotangents,
                group.of(sigmas),
                *vectors,
                group.of(grads),
                sums,
                MOST=group.plan.most,
                **constants,
            )
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
    cotangents = [
        [match_layout(grad, weight) for grad, weight in zip(grads, weights, strict=True)]
        for grads in (grad_grad_weights, grad_outputs)
    ]
    grad_grads, grads = [torch.empty_like(w) for w in weights], [torch.empty_like(w) for w in weights]
    wide = tl.float64 if weights[0].dtype == torch.float64 else tl.float32
    for group in _groups(weights, dims, 8, tensors=2):
        operands = (*(group.of(grads) for grads in cotangents), group.of(weights))
        vectors, sums = group.vectors(us, vs), group.plan.sums(2, 3)
        results, constants = (group.of(grad_grads), group.of(grads)), group.blocks.elementwise()
        with torch.cuda.device_of(sums):
            group.launch(spectral_norm_double_bwd_dots_kernel, 2, *operands, *vectors, sums, ACC=wide, **constants)
            group.launch(
                spectral_norm_double_bwd_kernel,
                2,
                *operands,
                group.of(sigmas),
                *vectors,
                *results,
                sums,
                MOST=group.plan.most,
                **constants,
            )
    return grad_grads, grads
