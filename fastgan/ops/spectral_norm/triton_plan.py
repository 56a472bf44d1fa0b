"""How spectral_norm's Triton kernels share a group of weights among programs: tables, built once, and blocks."""

from __future__ import annotations

import functools
import math
from typing import Any, NamedTuple

import torch
from torch import Tensor

from fastgan.ops.layout import channel_extents
from fastgan.ops.spectral_norm.triton_device import ALIGNED, ENTRIES
from fastgan.ops.triton_support import triton

__all__ = ["Blocks", "Layer", "Plan", "make_plan"]

#: Elements of a block: eight 16-byte loads of a float32 thread.
_BLOCK = 4096
#: Programs among which a large group's elements are shared.
_PROGRAMS = 2048
#: Elements of a line of a weight: places in it are 32-bit numbers.
_LONGEST = 1 << 30


class Blocks(NamedTuple):
    """Sizes of blocks, for the kernels; by dtype alone, so that results do not depend on the device."""

    wide: int
    left: tuple[int, int]
    right: tuple[int, int]
    elements: tuple[int, int]

    @classmethod
    def of(cls, dtype: torch.dtype, tensors: int = 1) -> Blocks:
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


class Layer(NamedTuple):
    """What the tables say of one weight."""

    outer: int
    rows: int
    inner: int
    transposed: bool
    turn: int
    written: bool

    @classmethod
    def of(cls, weight: Tensor, dim: int, written: bool) -> tuple[Layer, bool]:
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

    def tiles(self, blocks: Blocks) -> int:
        """Tiles that cover the lines."""
        return math.prod(triton.cdiv(size, block) for size, block in zip(self.lines(), blocks.elements, strict=True))

    def products(self, stage: int, blocks: Blocks) -> tuple[int, int]:
        """Programs that compute u or v, and how much each has to read."""
        columns = self.outer * self.inner
        if self.transposed == (stage == 1):
            return triton.cdiv(self.rows, blocks.left[0]), columns * blocks.left[0]
        return triton.cdiv(columns, blocks.right[1]), self.rows * blocks.right[1]


class Plan(NamedTuple):
    """The tables of a group of weights."""

    layers: Tensor  # [weights, FIELDS]
    programs: tuple[Tensor, ...]  # for each stage, the weight of each program
    most: int  # partial sums of one weight
    scratch: int  # elements that the vectors take
    permuted: tuple[bool, ...]  # whose v is brought into memory's order, and back, by a copy

    def sums(self, stage: int, *sizes: int) -> Tensor:
        """Memory for partial sums of a stage."""
        return self.layers.new_empty(*sizes, len(self.programs[stage]), dtype=torch.float64)


#: A weight's shape, strides and dim, and whether its output is written.
Described = tuple[tuple[int, ...], tuple[int, ...], int, bool]


# Kept for as long as the process: captured CUDA graphs read the tables.
@functools.cache
def make_plan(weights: tuple[Described, ...], blocks: Blocks, device: torch.device) -> Plan:
    """Share weights among programs. The first call for a group copies the tables to the device."""
    layers, permuted = [], []
    for shape, strides, dim, written in weights:
        layer, copied = Layer.of(torch.empty_strided(shape, strides, device="meta"), dim, written)
        layers.append(layer)
        permuted.append(copied)
    steps = max(1, sum(layer.tiles(blocks) for layer in layers if layer.written) // _PROGRAMS)
    # An elementwise kernel's program may also write a block of new vectors.
    elements = [
        (max(layer.tiles(blocks) // steps * layer.written, triton.cdiv(max(layer.vectors()), ENTRIES.value)), 0)
        for layer in layers
    ]
    shares = [*([layer.products(stage, blocks) for layer in layers] for stage in (0, 1)), elements]
    lines = [[*layer] for layer in layers]
    at = 0
    for line, layer in zip(lines, layers, strict=True):
        for length in layer.vectors():
            line.append(at)
            at += triton.cdiv(length, ALIGNED.value)
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
    return Plan(table, tuple(programs), most, ALIGNED.value * at, tuple(permuted))
