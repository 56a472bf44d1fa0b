"""What a workload is."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from torch import Tensor

__all__ = ["Case", "Workload", "nbytes"]


@dataclass(frozen=True)
class Case:
    """One workload at one batch size.

    Parameters
    ----------
    ours, stock : callable
        The same computation by fastgan and by stock PyTorch, on CPU tensors, derivatives included.
    must_move : int
        Bytes of every tensor that has to be read or written, once for each pass that has to touch it.
    """

    ours: Callable[[], object]
    stock: Callable[[], object]
    must_move: int


@dataclass(frozen=True)
class Workload:
    """A case of real size, and a small one that makes the same launches, whose bytes the interpreter counts as well."""

    name: str
    real: Callable[[], Case]
    small: Callable[[], Case]


def nbytes(tensors: Iterable[Tensor]) -> int:
    return sum(t.numel() * t.element_size() for t in tensors)
