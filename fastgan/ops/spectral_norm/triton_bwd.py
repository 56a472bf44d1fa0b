"""The kernels of spectral_norm's first and second derivative in Triton: sums over each weight, then the gradients."""

# No `from __future__ import annotations` where kernels live: Triton reads their annotations.
# mypy: disable-error-code=no-untyped-def
from fastgan.ops.spectral_norm.triton_device import (
    ELEMENTS,
    FIELDS,
    TRANSPOSED,
    TURN,
    count_tiles,
    lines_of,
    own_share,
    pick,
    rank_one,
    read_extents,
    tile_at,
    total_of,
)
from fastgan.ops.triton_support import tl, triton

__all__ = [
    "spectral_norm_bwd_dot_kernel",
    "spectral_norm_bwd_kernel",
    "spectral_norm_double_bwd_dots_kernel",
    "spectral_norm_double_bwd_kernel",
]


@triton.jit
def _dot(
    grad_output, weight, share, extents,
    ACC: tl.constexpr, WIDE: tl.constexpr, BLOCK_ROWS: tl.constexpr, BLOCK_COLS: tl.constexpr,
):  # fmt: skip
    lines, width = lines_of(extents, WIDE)
    total = tl.zeros((BLOCK_ROWS, BLOCK_COLS), ACC)
    for tile in range(share[0], count_tiles(lines, width, BLOCK_ROWS, BLOCK_COLS), share[1]):
        _, _, offsets, mask = tile_at(tile, lines, width, BLOCK_ROWS, BLOCK_COLS)
        g = tl.load(grad_output + offsets, mask=mask, other=0.0).to(ACC)
        total += g * tl.load(weight + offsets, mask=mask, other=0.0).to(ACC)
    return tl.sum(total).to(tl.float64)


@triton.jit
def spectral_norm_bwd_dot_kernel(
    programs_ptr,  # [programs]: the weight of each
    layers_ptr,  # [weights, FIELDS]
    grad_outputs,  # tuple of [outer, rows, inner]
    weights,  # tuple of [outer, rows, inner]
    sums_ptr,  # [programs]: partial sums of ⟨G, W⟩
    ACC: tl.constexpr,
    WIDE: tl.constexpr,
    BLOCK_ROWS: tl.constexpr,
    BLOCK_COLS: tl.constexpr,
):
    layer = tl.load(programs_ptr + tl.program_id(0))
    g, w = pick(grad_outputs, layer), pick(weights, layer)
    line = layers_ptr + layer * FIELDS
    extents = read_extents(line)
    share = own_share(line, ELEMENTS)
    if lines_of(extents, 1)[1] % WIDE == 0:
        part = _dot(g, w, share, extents, ACC, WIDE, BLOCK_ROWS, BLOCK_COLS)
    else:
        part = _dot(g, w, share, extents, ACC, 1, BLOCK_ROWS // 4, BLOCK_COLS)
    tl.store(sums_ptr + tl.program_id(0), part)


@triton.jit
def _sides(u, v, line):
    """The left and the right vector."""
    left, right = u, v
    if tl.load(line + TRANSPOSED) == 1:
        left, right = v, u
    return left, right


@triton.jit
def _gradient(
    grad_output, left, right, inverse_sigma, along, grad_weight, share, extents, turn,
    WIDE: tl.constexpr, BLOCK_ROWS: tl.constexpr, BLOCK_COLS: tl.constexpr,
):  # fmt: skip
    ACC: tl.constexpr = along.dtype
    lines, width = lines_of(extents, WIDE)
    for tile in range(share[0], count_tiles(lines, width, BLOCK_ROWS, BLOCK_COLS), share[1]):
        a, m, offsets, mask = tile_at(tile, lines, width, BLOCK_ROWS, BLOCK_COLS)
        g = tl.load(grad_output + offsets, mask=mask).to(ACC)
        e = rank_one(left, right, a, m, mask, extents, turn, ACC)
        grad = g * inverse_sigma - along * e
        tl.store(grad_weight + offsets, grad.to(grad_weight.dtype.element_ty), mask=mask)


@triton.jit
def spectral_norm_bwd_kernel(
    programs_ptr,  # [programs]: the weight of each
    layers_ptr,  # [weights, FIELDS]
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
    g, result = pick(grad_outputs, layer), pick(grad_weights, layer)
    u, v, sigma_ptr = pick(us, layer), pick(vs, layer), pick(sigmas, layer)
    line = layers_ptr + layer * FIELDS
    extents = read_extents(line)
    turn = tl.load(line + TURN)
    share = own_share(line, ELEMENTS)
    left, right = _sides(u, v, line)
    sigma = tl.load(sigma_ptr)
    along = total_of(sums_ptr, line, ELEMENTS, MOST).to(sigma.dtype) / sigma / sigma
    inverse = 1.0 / sigma
    if lines_of(extents, 1)[1] % WIDE == 0:
        _gradient(g, left, right, inverse, along, result, share, extents, turn, WIDE, BLOCK_ROWS, BLOCK_COLS)
    else:
        _gradient(g, left, right, inverse, along, result, share, extents, turn, 1, BLOCK_ROWS // 4, BLOCK_COLS)


@triton.jit
def _double_dots(
    grad_grad_weight, grad_output, weight, left, right, share, extents, turn,
    ACC: tl.constexpr, WIDE: tl.constexpr, BLOCK_ROWS: tl.constexpr, BLOCK_COLS: tl.constexpr,
):  # fmt: skip
    lines, width = lines_of(extents, WIDE)
    h_e = tl.zeros((BLOCK_ROWS, BLOCK_COLS), ACC)
    h_g = tl.zeros((BLOCK_ROWS, BLOCK_COLS), ACC)
    g_w = tl.zeros((BLOCK_ROWS, BLOCK_COLS), ACC)
    for tile in range(share[0], count_tiles(lines, width, BLOCK_ROWS, BLOCK_COLS), share[1]):
        a, m, offsets, mask = tile_at(tile, lines, width, BLOCK_ROWS, BLOCK_COLS)
        h = tl.load(grad_grad_weight + offsets, mask=mask, other=0.0).to(ACC)
        g = tl.load(grad_output + offsets, mask=mask, other=0.0).to(ACC)
        e = rank_one(left, right, a, m, mask, extents, turn, ACC)
        h_e += tl.where(mask, h * e, 0.0)
        h_g += h * g
        g_w += g * tl.load(weight + offsets, mask=mask, other=0.0).to(ACC)
    return tl.sum(h_e).to(tl.float64), tl.sum(h_g).to(tl.float64), tl.sum(g_w).to(tl.float64)


@triton.jit
def spectral_norm_double_bwd_dots_kernel(
    programs_ptr,  # [programs]: the weight of each
    layers_ptr,  # [weights, FIELDS]
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
    h, g, w = pick(grad_grad_weights, layer), pick(grad_outputs, layer), pick(weights, layer)
    u, v = pick(us, layer), pick(vs, layer)
    line = layers_ptr + layer * FIELDS
    extents = read_extents(line)
    turn = tl.load(line + TURN)
    share = own_share(line, ELEMENTS)
    left, right = _sides(u, v, line)
    if lines_of(extents, 1)[1] % WIDE == 0:
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
    lines, width = lines_of(extents, WIDE)
    for tile in range(share[0], count_tiles(lines, width, BLOCK_ROWS, BLOCK_COLS), share[1]):
        a, m, offsets, mask = tile_at(tile, lines, width, BLOCK_ROWS, BLOCK_COLS)
        h = tl.load(grad_grad_weight + offsets, mask=mask).to(ACC)
        w = tl.load(weight + offsets, mask=mask).to(ACC)
        tl.store(grad_grad_output + offsets, (h * inverse_sigma - h_e * w).to(OUT), mask=mask)
        g = tl.load(grad_output + offsets, mask=mask).to(ACC)
        e = rank_one(left, right, a, m, mask, extents, turn, ACC)
        tl.store(grad_weight + offsets, (along * e - h_e * g).to(OUT), mask=mask)


@triton.jit
def spectral_norm_double_bwd_kernel(
    programs_ptr,  # [programs]: the weight of each
    layers_ptr,  # [weights, FIELDS]
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
    h, g, w = pick(grad_grad_weights, layer), pick(grad_outputs, layer), pick(weights, layer)
    u, v, sigma_ptr = pick(us, layer), pick(vs, layer), pick(sigmas, layer)
    dg, dw = pick(grad_grad_outputs, layer), pick(grad_weights, layer)
    line = layers_ptr + layer * FIELDS
    extents = read_extents(line)
    turn = tl.load(line + TURN)
    share = own_share(line, ELEMENTS)
    left, right = _sides(u, v, line)
    sigma = tl.load(sigma_ptr)
    h_e = total_of(sums_ptr, line, ELEMENTS, MOST).to(sigma.dtype) / sigma / sigma
    h_g = total_of(sums_ptr + tl.num_programs(0), line, ELEMENTS, MOST).to(sigma.dtype) / sigma / sigma
    g_w = total_of(sums_ptr + 2 * tl.num_programs(0), line, ELEMENTS, MOST).to(sigma.dtype) / sigma
    along = 2.0 * g_w * h_e - h_g
    inverse = 1.0 / sigma
    if lines_of(extents, 1)[1] % WIDE == 0:
        _second(h, g, w, left, right, inverse, h_e, along, dg, dw, share, extents, turn, WIDE, BLOCK_ROWS, BLOCK_COLS)
    else:
        _second(h, g, w, left, right, inverse, h_e, along, dg, dw, share, extents, turn, 1, BLOCK_ROWS // 4, BLOCK_COLS)
