"""What spectral_norm's Triton kernels share: the tables that tell a program its work, sums, and tiles of a weight."""

# No `from __future__ import annotations` where kernels live: Triton reads their annotations.
# mypy: disable-error-code=no-untyped-def
from fastgan.ops.triton_support import tl, triton

__all__ = [
    "ALIGNED",
    "ELEMENTS",
    "ENTRIES",
    "FIELDS",
    "INNER",
    "OUTER",
    "ROWS",
    "SHARES",
    "SUMS",
    "TRANSPOSED",
    "TURN",
    "VECTORS",
    "WRITTEN",
    "U",
    "V",
    "count_tiles",
    "known_multiple",
    "lines_of",
    "norm_of",
    "own_share",
    "pick",
    "rank_one",
    "read_extents",
    "tile_at",
    "total_of",
    "turned",
]

# A stage is a way to share the weights among programs.
U = tl.constexpr(0)  # to compute u = W v
V = tl.constexpr(1)  # to compute v = Wᵀu
ELEMENTS = tl.constexpr(2)  # element by element

# What stands where in a weight's line of the table (see make_plan).
OUTER = tl.constexpr(0)
ROWS = tl.constexpr(1)
INNER = tl.constexpr(2)
TRANSPOSED = tl.constexpr(3)
TURN = tl.constexpr(4)
WRITTEN = tl.constexpr(5)
VECTORS = tl.constexpr(6)  # two entries: where u and v are in the scratch memory
SHARES = tl.constexpr(8)  # two entries a stage: the first of the weight's programs, and their number
FIELDS = tl.constexpr(14)

#: Vectors start at multiples of so many elements of the scratch memory.
ALIGNED = tl.constexpr(16)
#: Partial sums added up at once.
SUMS = tl.constexpr(512)
#: Entries of a vector handled at once.
ENTRIES = tl.constexpr(1024)


@triton.jit
def pick(pointers, layer):
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
    return tl.load(line + SHARES + 2 * STAGE), tl.load(line + SHARES + 2 * STAGE + 1)


@triton.jit
def own_share(line, STAGE: tl.constexpr):
    """Which of the programs that share the weight this one is, and their number."""
    first, count = _share(line, STAGE)
    return tl.program_id(0) - first, count


@triton.jit
def read_extents(line):
    return tl.load(line + OUTER), tl.load(line + ROWS), tl.load(line + INNER)


@triton.jit
def known_multiple(n, WIDE: tl.constexpr):
    """`n`, and the compiler knows that it is a multiple of `WIDE`."""
    return n // WIDE * WIDE


@triton.jit
def turned(c, columns, turn):
    """Where v has its entry for the column that is number c in memory: memory's [turn, rest] is v's [rest, turn]."""
    rest = columns // turn
    return c % rest * turn + c // rest


@triton.jit
def total_of(sums_ptr, line, STAGE: tl.constexpr, MOST: tl.constexpr):
    """Of a weight's partial sums, of which there are at most `MOST`; no loop, for pick's sake."""
    first, count = _share(line, STAGE)
    total = tl.zeros((SUMS,), tl.float64)
    for start in tl.static_range(0, MOST, SUMS):
        i = start + tl.arange(0, SUMS)
        total += tl.load(sums_ptr + first + i, mask=i < count, other=0.0)
    return tl.sum(total)


@triton.jit
def norm_of(sums_ptr, line, eps, STAGE: tl.constexpr, MOST: tl.constexpr):
    """A vector's norm, from the partial sums of its squares, and the factor that normalises it."""
    norm = tl.sqrt(total_of(sums_ptr, line, STAGE, MOST))
    return norm, 1.0 / tl.where(norm < eps, eps, norm)


@triton.jit
def lines_of(extents, WIDE: tl.constexpr):
    """A weight as a matrix whose rows, here called lines, lie together: their number and width."""
    outer, rows, inner = extents
    return tl.where(outer == 1, rows, outer), known_multiple(tl.where(outer == 1, inner, rows * inner), WIDE)


@triton.jit
def count_tiles(lines, width, BLOCK_ROWS: tl.constexpr, BLOCK_COLS: tl.constexpr):
    return tl.cdiv(lines, BLOCK_ROWS) * tl.cdiv(width, BLOCK_COLS)


@triton.jit
def tile_at(tile, lines, width, BLOCK_ROWS: tl.constexpr, BLOCK_COLS: tl.constexpr):
    """A tile's lines [BLOCK_ROWS, 1], places in them [1, BLOCK_COLS], offsets in memory, and what is valid."""
    across = tl.cdiv(width, BLOCK_COLS)
    a = tile // across * BLOCK_ROWS + tl.arange(0, BLOCK_ROWS)[:, None]
    m = tile % across * BLOCK_COLS + tl.arange(0, BLOCK_COLS)[None, :]
    return a, m, a.to(tl.int64) * width + m, (a < lines) & (m < width)


@triton.jit
def rank_one(left, right, a, m, mask, extents, turn, ACC: tl.constexpr):
    """The tile of E = u vᵀ."""
    outer, rows, inner = extents
    if outer == 1:
        e = tl.load(left + a, mask=a < rows).to(ACC) * tl.load(right + turned(m, inner, turn), mask=m < inner).to(ACC)
    else:
        e = tl.load(left + m // inner, mask=m < rows * inner).to(ACC)
        e = e * tl.load(right + a * inner + m % inner, mask=mask).to(ACC)
    return e
