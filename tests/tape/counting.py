"""Counts the products of a step: what a penalty's cost is made of."""

from __future__ import annotations

from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

_MATRICES = ("mm", "addmm", "bmm", "baddbmm")


class Products(TorchDispatchMode):
    """Convolutions, their gradients by input and by weight, and products of matrices.

    Attributes
    ----------
    found : list of str
        In order: "convolution", "input", "weight" or "matrices".
    """

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.ops.aten.convolution.default:
            self.found.append("convolution")
        elif func is torch.ops.aten.convolution_backward.default:
            self.found += [name for name, wanted in zip(("input", "weight"), args[-1][:2], strict=True) if wanted]
        elif func._schema.name.partition("::")[2] in _MATRICES:
            self.found.append("matrices")
        return func(*args, **(kwargs or {}))
