"""The one registry of cases: every module of ``fastgan_bench.families``."""

from __future__ import annotations

import importlib
import pkgutil

import torch

from . import families
from .case import Case

__all__ = ["cases", "find", "names"]


def names() -> list[str]:
    """The families that exist."""
    return sorted(module.name for module in pkgutil.iter_modules(families.__path__))


def cases(family: str | None, device: torch.device, quick: bool = False) -> list[Case]:
    """The cases of one family, or of all.

    Parameters
    ----------
    family : str or None
    device : torch.device
        GPU workloads are larger.
    quick : bool
        Only the cases that are in the quick selection.

    Raises
    ------
    ValueError
        For an unknown family; the message lists those that exist.
    """
    if family is not None and family not in names():
        raise ValueError(f"bench: family must be one of {', '.join(names())}, got {family!r}")
    found = []
    for name in [family] if family else names():
        module = importlib.import_module(f"{families.__name__}.{name}")
        found += [case for case in module.cases(device) if case.quick or not quick]
    return found


def find(family: str, name: str, device: torch.device) -> Case:
    """One case by its name."""
    return next(case for case in cases(family, device) if case.name == name)
