"""Which of a discriminator's outputs a penalty is about."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor
from torch.utils import _pytree as pytree

__all__ = ["Select", "selected"]

#: An index or a key of the output, or a function of it that returns a tensor or several.
Select = int | str | Callable[[Any], Any] | None


def selected(function: str, output: Any, select: Select) -> list[Tensor]:
    """The tensors whose sum is differentiated; raises where there are none."""
    if callable(select):
        chosen = select(output)
    elif select is None:
        chosen = output
        if not isinstance(output, Tensor):
            raise ValueError(
                f"{function}: select must be an index, a key or a function that says which part of the output is "
                f"penalised, as the output is no tensor, got None for a {type(output).__name__}"
            )
    else:
        by_name = isinstance(select, str) and hasattr(output, select)
        chosen = getattr(output, select) if by_name else output[select]  # type: ignore[arg-type]
    tensors = [leaf for leaf in pytree.tree_leaves(chosen) if isinstance(leaf, Tensor)]
    if not tensors:
        raise TypeError(f"{function}: select must choose a tensor of the output, got {type(chosen).__name__}")
    return tensors
