"""Figures as they stand in a row of the results: by kind, with what they were to show."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from .training import FinishedRun

__all__ = ["Figure", "Measurement", "Section"]


@dataclass(frozen=True)
class Figure:
    """A number, with its standard error where it has one."""

    value: float
    error: float | None = None


@dataclass(frozen=True)
class Section:
    """Some figures of a run.

    Attributes
    ----------
    title : str
        Recipes with figures of one title share a table of that heading.
    note : str
        A sentence or two below the heading: of what, on how many images; the same for all recipes.
    figures : dict
        By column.
    goals : dict
        What the figures were to show, in words, and whether they do.
    """

    title: str
    note: str
    figures: dict[str, Figure]
    goals: dict[str, bool] = field(default_factory=dict)


#: What measures a finished run.
Measurement = Callable[[FinishedRun], Section]
