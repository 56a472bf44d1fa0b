"""Tensors that end, or begin, where memory may not be touched."""

from __future__ import annotations

import ctypes
import mmap
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

import torch
from torch import Tensor

PAGE = mmap.PAGESIZE
POISON = 0xFF  # in every byte: NaN in every floating-point type

_libc = ctypes.CDLL(None, use_errno=True)
_libc.mprotect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
_NO_ACCESS = 0
_FLAGS = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | 0x4000  # MAP_NORESERVE, which Python 3.10 has no name for


class Arena:
    """Allocates buffers between guard pages, flush with the one at their `side`, "start" or "end"."""

    def __init__(self, side: str) -> None:
        assert side in ("start", "end")
        self.side = side
        self._margins: list[tuple[mmap.mmap, slice]] = []  # bytes between a buffer and a guard page

    def reserve(self, nbytes: int, phase: int = 0) -> memoryview:
        """`nbytes` poisoned bytes, there as long as the view is. At the start, `phase` bytes misalign them."""
        size = (max(1, -(-(nbytes + phase) // PAGE)) + 2) * PAGE
        memory = mmap.mmap(-1, size, flags=_FLAGS)
        if nbytes < 1 << 24:  # the huge ones of the index tests stay untouched
            memory[:] = bytes([POISON]) * size
        first = PAGE + phase if self.side == "start" else size - PAGE - nbytes
        self._margins += [(memory, slice(PAGE, first)), (memory, slice(first + nbytes, size - PAGE))]
        base = address(memory)
        for guard in (base, base + size - PAGE):
            assert _libc.mprotect(guard, PAGE, _NO_ACCESS) == 0
        return memoryview(memory)[first : first + nbytes]

    def tensor(self, shape: torch.Size, stride: tuple[int, ...], dtype: torch.dtype, phase: int = 0) -> Tensor:
        """An uninitialised dense tensor."""
        numel = shape.numel()
        if numel == 0:
            return torch.empty_strided(shape, stride, dtype=dtype)
        return torch.frombuffer(self.reserve(numel * dtype.itemsize, phase), dtype=dtype).as_strided(shape, stride)

    def copy(self, x: Tensor) -> Tensor:
        """`x` here, with the strides and the misalignment it has."""
        if not torch.ops.aten.is_non_overlapping_and_dense(x):
            return x
        return self.tensor(x.shape, x.stride(), x.dtype, x.data_ptr() % 16).copy_(x)

    def check(self) -> None:
        """Fail where something was written beside a buffer."""
        for memory, margin in self._margins:
            beside = memory[margin]
            assert beside == bytes([POISON]) * len(beside), "written beside a buffer"


def address(memory: mmap.mmap | memoryview) -> int:
    """Where a buffer lies."""
    return ctypes.addressof(ctypes.c_char.from_buffer(memory))


_empty, _empty_like = torch.empty, torch.empty_like


@contextmanager
def allocations(arena: Arena) -> Iterator[None]:
    """Let torch.empty and torch.empty_like allocate in the arena."""

    def empty(*size: Any, dtype: torch.dtype, device: Any = None) -> Tensor:
        like = _empty(*size, dtype=dtype)
        return arena.tensor(like.shape, like.stride(), dtype)

    def empty_like(x: Tensor, dtype: torch.dtype | None = None) -> Tensor:
        return arena.tensor(x.shape, _empty_like(x).stride(), dtype or x.dtype)

    with mock.patch.object(torch, "empty", empty), mock.patch.object(torch, "empty_like", empty_like):
        yield
