"""A sample names a case and makes its arguments: fresh random tensors in any dtype, the same for the same seed."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves, tree_map_only

from fastgan.ops.layout import accumulator

__all__ = ["Sample", "in_dtype", "laid_out", "tensors"]


@dataclass(frozen=True)
class Sample:
    """One case of an op, called through a public function.

    Parameters
    ----------
    op, name : str
        The op, and what the case is about.
    make : callable
        ``make(generator)`` gives the float64 keyword arguments: tensors, lists of tensors and options.
    function : str, optional
        In ``fastgan.functional``. Default: the op's name.
    constants : tuple of str
        Arguments without derivatives, of the leading argument's dtype or of integers.
    numerical : bool, default True
        Whether finite differences show the derivatives that the op is to have.
    leader : str, optional
        The argument whose tensors the function's first results are like, each of the dtype of one, under autocast too.
        Default: the first.
    keeps_layout : bool, default True
        Whether those results have the memory layout of the leading argument's tensors as well.
    follows_autocast : bool, default False
        Whether the op runs in autocast's dtype, as convolutions do, instead of in that of the leading argument.
    accumulated : bool, default False
        Whether those results are sums, of the dtype that the leading argument's is summed in.
    float32_error : float, optional
        The relative error that the op documents for float32. Default: that of the table of tolerances.
    """

    op: str
    name: str
    make: Callable[[torch.Generator], dict[str, Any]]
    function: str | None = None
    constants: tuple[str, ...] = ()
    numerical: bool = True
    leader: str | None = None
    keeps_layout: bool = True
    follows_autocast: bool = False
    accumulated: bool = False
    float32_error: float | None = None

    def arguments(self, dtype: torch.dtype = torch.float64, seed: int = 0) -> dict[str, Any]:
        """Keyword arguments, tensors in `dtype` with the layout the case is about."""
        generator = torch.Generator().manual_seed(zlib.crc32(self.name.encode()) + seed)
        return tree_map_only(Tensor, lambda x: _cast(x, dtype), self.make(generator))

    def result_dtype(self, dtype: torch.dtype) -> torch.dtype:
        """That of the first results where the leading argument has `dtype`."""
        return accumulator(dtype) if self.accumulated else dtype

    def leading(self, arguments: dict[str, Any]) -> list[Tensor]:
        """The tensors that the first results are like."""
        return tensors(arguments[self.leader or next(iter(arguments))])

    def differentiable(self, arguments: dict[str, Any]) -> list[Tensor]:
        """The tensors that have derivatives."""
        return [x for k, v in arguments.items() if k not in self.constants for x in tensors(v)]

    def substitute(self, arguments: dict[str, Any], others: Sequence[Tensor]) -> dict[str, Any]:
        """The arguments with `others` in the places of those that :meth:`differentiable` gives."""
        rest = iter(others)
        replaced = {
            k: tree_map_only(Tensor, lambda _: next(rest), v) for k, v in arguments.items() if k not in self.constants
        }
        return {**arguments, **replaced}

    def __str__(self) -> str:
        return self.name


def tensors(values: Any) -> list[Tensor]:
    """The tensors in a value, or in lists, tuples and dicts of values."""
    return [leaf for leaf in tree_leaves(values) if isinstance(leaf, Tensor)]


def in_dtype(values: Any, dtype: torch.dtype) -> Any:
    """The same with floating tensors in `dtype`."""
    return tree_map_only(Tensor, lambda x: x.to(dtype) if x.is_floating_point() else x, values)


def _cast(x: Tensor, dtype: torch.dtype) -> Tensor:
    if not x.is_floating_point():
        return x
    # Keeps strides and storage offset, which Tensor.to does not where there are gaps or overlaps.
    base = x._base if x._base is not None else x
    return torch.as_strided(base.to(dtype), x.shape, x.stride(), x.storage_offset())


def laid_out(shape: tuple[int, ...], layout: str, normal: Callable[..., Tensor]) -> Tensor:
    """Random numbers from `normal(*size)` in the memory layout called `layout`."""
    if layout == "contiguous":
        return normal(*shape)
    if layout == "channels_last":
        return normal(*shape).contiguous(memory_format={4: torch.channels_last, 5: torch.channels_last_3d}[len(shape)])
    if layout == "transposed":
        return normal(*shape[::-1]).permute(*range(len(shape))[::-1])
    if layout == "expanded-permuted":
        return normal(1, *shape[2:], shape[1]).expand(shape[0], *shape[2:], shape[1]).movedim(-1, 1)
    if layout == "gaps":
        return normal(*shape[:-1], 2 * shape[-1])[..., ::2]
    if layout == "expanded":
        return normal(1, *shape[1:]).expand(shape)
    assert layout == "offset"
    return normal(1 + torch.Size(shape).numel())[1:].view(shape)
