"""spectral_norm by the kernels of csrc/cuda/spectral_norm.cu.

A group of weights goes to the kernels as a table that is itself a kernel parameter: nothing is copied to the GPU
beforehand, and launches can be captured. The ``plan_*`` functions work out how blocks share a weight and touch no
tensor; the functions after them only allocate, fill tables and launch.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from fastgan.ops import cuda_source
from fastgan.ops.layout import channel_extents, dense, match_layout
from fastgan.ops.spectral_norm.matrix import columns_in_memory, columns_of
from fastgan.ops.spectral_norm.reference import accumulator

__all__ = [
    "BACKWARD_LAYER",
    "FORWARD_LAYER",
    "BackwardPlan",
    "ForwardPlan",
    "Walk",
    "plan_backward",
    "plan_forward",
    "plan_walk",
    "spectral_norm",
    "spectral_norm_backward",
    "spectral_norm_double_backward",
    "unsupported_reason",
]

# These are the kernels' own.
THREADS = 256
TOGETHER = 4
SCALED_PACKS = 8
PACK_BYTES = 16
FORWARD_LAYERS = 27
BACKWARD_LAYERS = 33
U, V, FINISH = range(3)

#: The longest distance between rows in memory for which a slice of the outer dimension is walked as a whole.
LONGEST_PERIOD = 64
#: A thread that sums has at least so many packs before another shares its sum.
PACKS_PER_THREAD = 8
#: Packs of a block that sums over all units. Narrower tiles make more blocks, until they are no whole sectors.
TILE_PACKS = 4096
TILE_LANES = (2, 32)
#: Turns of a thread of the derivatives' kernels: more, where a weight would have more blocks than this otherwise. A sum
#: over the weight is added up again by each of its blocks.
TURNS = (4, 64)
DERIVATIVE_BLOCKS = 512

_SUFFIXES = {torch.float32: "f32", torch.float64: "f64", torch.float16: "f16", torch.bfloat16: "bf16"}

_WALK = [("segments", "i8"), ("units", "i8"), ("length", "i8"), ("period", "i4"), ("x_is_u", "i4")]
FORWARD_LAYER = np.dtype(
    [
        ("weight", "u8"),
        ("vectors", "u8", 2),
        ("output", "u8"),
        ("sigma", "u8"),
        ("new_vectors", "u8", 2),
        ("products", "u8", 2),
        ("squares", "u8", 2),
        *_WALK,
        ("team", "i4"),
        ("lanes", "i4"),
        ("first", "i4", 3),
    ],
    align=True,
)
BACKWARD_LAYER = np.dtype(
    [
        ("grad_grad_weight", "u8"),
        ("grad_output", "u8"),
        ("weight", "u8"),
        ("sigma", "u8"),
        ("vectors", "u8", 2),
        ("grad_grad_output", "u8"),
        ("grad_weight", "u8"),
        ("partial", "u8"),
        *_WALK,
        ("lanes", "i4"),
        ("chunk", "i4"),
        ("first", "i4"),
    ],
    align=True,
)


class Walk(NamedTuple):
    """A weight's memory as ``[segments, units, length]``; see the kernels."""

    segments: int
    units: int
    length: int
    period: int
    x_is_u: bool


class ForwardPlan(NamedTuple):
    """How blocks share a weight in the launches that make u, make v, and finish.

    Attributes
    ----------
    team, lanes : int
        Threads that sum over a unit, and threads that share a unit's part of a tile.
    blocks : tuple of int
        Of each of the three launches.
    offsets : tuple of int
        Bytes in front of the products u and v and of the sums of their squares, in the scratch memory.
    scratch : int
        Its bytes.
    """

    walk: Walk
    team: int
    lanes: int
    blocks: tuple[int, int, int]
    offsets: tuple[int, int, int, int]
    scratch: int


class BackwardPlan(NamedTuple):
    """How blocks share a weight in the derivatives' launches: a tile has `chunk` units."""

    walk: Walk
    lanes: int
    chunk: int
    blocks: int


def unsupported_reason(device_type: str, dtype: torch.dtype) -> str | None:
    if device_type != "cuda":
        return f"serves CUDA tensors, not {device_type}"
    if dtype not in _SUFFIXES:
        return f"does not serve {dtype}"
    return cuda_source.unavailable_reason("spectral_norm")


def _ceil_div(a: int, b: int) -> int:
    return -(-a // b)


def _clamp(value: int, least: int, most: int) -> int:
    return max(least, min(value, most))


def plan_walk(outer: int, rows: int, inner: int) -> Walk:
    """Walk a weight that is ``[outer, rows, inner]`` in memory."""
    if outer == 1 or inner > LONGEST_PERIOD:
        return Walk(outer, rows, inner, 1, True)
    return Walk(1, outer, rows * inner, inner, False)


def _lanes(packs: int, turn: int, most: int) -> int:
    """Cut `packs` in equal tiles of about `most`, of a multiple of `turn`."""
    width = _ceil_div(packs, max(1, _ceil_div(packs, most)))
    return max(1, _ceil_div(width, turn)) * turn


@functools.lru_cache(maxsize=1024)
def plan_forward(outer: int, rows: int, inner: int, itemsize: int, materialize: bool) -> ForwardPlan:
    """Plan the launches for one weight of elements of `itemsize` bytes."""
    walk = plan_walk(outer, rows, inner)
    pack = PACK_BYTES // itemsize
    packs = _ceil_div(walk.length, pack)
    turn = walk.period // math.gcd(walk.period, pack)  # packs after which a period starts with a pack again
    share = _clamp(walk.segments * packs // PACKS_PER_THREAD, 32, THREADS)
    # In whole warps, a power of two of them; or in whole turns.
    team = 1 << share.bit_length() - 1 if walk.period == 1 else max(1, share // turn) * turn
    summing = _ceil_div(walk.units, THREADS // team * (TOGETHER if walk.period == 1 else 1))
    lanes = _lanes(packs, turn, _clamp(TILE_PACKS // max(1, walk.units), *TILE_LANES))
    gathering = walk.segments * _ceil_div(walk.length, lanes * pack)
    columns = outer * inner
    written = rows * columns if materialize else max(rows, columns)
    finishing = max(1, _ceil_div(written, THREADS * pack * SCALED_PACKS))
    blocks = (summing, gathering) if walk.x_is_u else (gathering, summing)

    offsets = [0]
    wide = 8 if itemsize == 8 else 4
    for nbytes in (rows * wide, columns * wide, blocks[U] * 8, blocks[V] * 8):
        offsets.append(offsets[-1] + _ceil_div(nbytes, PACK_BYTES) * PACK_BYTES)
    u, v, u_squares, v_squares, scratch = offsets
    return ForwardPlan(walk, team, lanes, (*blocks, finishing), (u, v, u_squares, v_squares), scratch)


@functools.lru_cache(maxsize=1024)
def plan_backward(outer: int, rows: int, inner: int, itemsize: int) -> BackwardPlan:
    """Plan the launches of a derivative for one weight of elements of `itemsize` bytes."""
    walk = plan_walk(outer, rows, inner)
    pack = PACK_BYTES // itemsize
    lanes = _lanes(_ceil_div(walk.length, pack), walk.period // math.gcd(walk.period, pack), TILE_LANES[1])
    teams = THREADS // lanes
    tiles = walk.segments * _ceil_div(walk.length, lanes * pack)
    chunk = teams * _clamp(_ceil_div(tiles * walk.units, teams * DERIVATIVE_BLOCKS), *TURNS)
    return BackwardPlan(walk, lanes, chunk, tiles * _ceil_div(walk.units, chunk))


def _tables(layer: np.dtype, capacity: int, members: list[tuple[Any, ...]]) -> Iterator[tuple[np.ndarray, Any]]:
    """Tables of at most `capacity` members and the numbers of blocks of their launches.

    A member's last entry, the number of its blocks, becomes that of its first block. CuPy passes a NumPy array of one
    element by value, whatever its type.
    """
    table_type = np.dtype([("layers", layer, capacity + 1), ("count", "i4")], align=True)
    for start in range(0, len(members), capacity):
        chunk = members[start : start + capacity]
        table = np.zeros((), table_type)
        table["count"] = len(chunk)
        table["layers"][: len(chunk)] = chunk
        first = table["layers"]["first"]
        first[1 : len(chunk) + 1] = np.cumsum(first[: len(chunk)], axis=0)
        first[0] = 0
        yield table, first[len(chunk)]


def _launch(kernel: str, like: Tensor, grid: int, *args: Any) -> None:
    if grid == 0:  # weights without elements
        return
    name = f"spectral_norm_{kernel}_kernel_{_SUFFIXES[like.dtype]}"
    cuda_source.function("spectral_norm", name, like.device)((int(grid),), (THREADS,), args)


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
    first = weights[0]
    wide = accumulator(first.dtype)
    outputs = [
        torch.empty_like(w) if wanted else w.new_empty(0) for w, wanted in zip(weights, materialize, strict=True)
    ]
    sigmas = [torch.empty((), dtype=wide, device=first.device) for _ in weights]
    new_us, new_vs = [torch.empty_like(u) for u in us], [torch.empty_like(v) for v in vs]
    plans = [
        plan_forward(*channel_extents(weight, dim), weight.element_size(), wanted)
        for weight, dim, wanted in zip(weights, dims, materialize, strict=True)
    ]
    scratch = torch.empty(sum(plan.scratch for plan in plans), dtype=torch.uint8, device=first.device)
    members, free = [], scratch.data_ptr()
    for plan, weight, u, v, output, sigma, new_u, new_v in zip(
        plans, weights, us, vs, outputs, sigmas, new_us, new_vs, strict=True
    ):
        u_product, v_product, u_squares, v_squares = (free + offset for offset in plan.offsets)
        vectors, new_vectors = (u.data_ptr(), v.data_ptr()), (new_u.data_ptr(), new_v.data_ptr())
        tensors = (weight.data_ptr(), vectors, output.data_ptr(), sigma.data_ptr(), new_vectors)
        memory = (u_product, v_product), (u_squares, v_squares)
        members.append((*tensors, *memory, *plan.walk, plan.team, plan.lanes, plan.blocks))
        free += plan.scratch

    steps = ((V, U) if v_first else (U, V)) * n_power_iterations
    only_sigma, small = np.int32(not steps), (np.float64 if wide == torch.float64 else np.float32)(eps)
    makes, last = (steps[0], steps[-1]) if steps else (U, U)
    for table, blocks in _tables(FORWARD_LAYER, FORWARD_LAYERS, members):
        _launch("start", first, blocks[makes], table, np.int32(makes), only_sigma)
        for step in steps[1:]:
            _launch("step", first, blocks[step], table, np.int32(step), small)
        _launch("finish", first, blocks[FINISH], table, np.int32(last), only_sigma, small)
    new_vs = [columns_of(v, weight, dim) for v, weight, dim in zip(new_vs, weights, dims, strict=True)]
    return outputs, sigmas, new_us, new_vs


def _differentiate(
    kernel: str,
    sums: int,
    cotangents: Sequence[tuple[Tensor | None, Tensor]],
    weights: list[Tensor],
    sigmas: list[Tensor],
    us: list[Tensor],
    vs: list[Tensor],
    dims: list[int],
    results: Sequence[tuple[Tensor | None, Tensor]],
) -> None:
    """Launch `kernel` and the one before it, which leaves `sums` sums over each weight; the weights are dense."""
    plans = [plan_backward(*channel_extents(w, dim), w.element_size()) for w, dim in zip(weights, dims, strict=True)]
    partial = torch.empty(sums * sum(plan.blocks for plan in plans), dtype=torch.float64, device=weights[0].device)
    held, members, free = [], [], partial.data_ptr()
    for plan, given, weight, sigma, u, v, dim, written in zip(
        plans, cotangents, weights, sigmas, us, vs, dims, results, strict=True
    ):
        alike = tuple(None if x is None else match_layout(x, weight) for x in given)
        vectors = (u.contiguous(), columns_in_memory(v, weight, dim))
        held.append((alike, vectors))  # copies must outlive the launches
        inputs = (*(_address(x) for x in alike), weight.data_ptr(), sigma.data_ptr())
        addresses = (*inputs, tuple(x.data_ptr() for x in vectors), *(_address(x) for x in written), free)
        members.append((*addresses, *plan.walk, plan.lanes, plan.chunk, plan.blocks))
        free += 8 * sums * plan.blocks
    for table, blocks in _tables(BACKWARD_LAYER, BACKWARD_LAYERS, members):
        _launch(f"{kernel}_sums", weights[0], blocks, table)
        _launch(kernel, weights[0], blocks, table)


def _address(tensor: Tensor | None) -> int:
    return 0 if tensor is None else tensor.data_ptr()


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
    cotangents, results = [(None, grad) for grad in grad_outputs], [(None, grad) for grad in grads]
    _differentiate("bwd", 1, cotangents, weights, sigmas, us, vs, dims, results)
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
    cotangents = list(zip(grad_grad_weights, grad_outputs, strict=True))
    results = list(zip(grad_grads, grads, strict=True))
    _differentiate("bwd_bwd", 3, cotangents, weights, sigmas, us, vs, dims, results)
    return grad_grads, grads
