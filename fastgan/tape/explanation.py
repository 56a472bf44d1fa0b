"""What was done with each operation of a network, and why."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

__all__ = ["DOUBLE", "FOUR", "SIX", "TAIL", "Explanation", "Explanations", "Step"]

FOUR, SIX, TAIL, DOUBLE = "four passes", "six passes", "tail", "double backward"

#: What each path costs, in passes over the network.
_COST = {
    FOUR: "F, B, T and W: four passes",
    SIX: "F, B, T and W, and a backward pass of the loss: six passes, or four where the loss's gradient allows",
    TAIL: "four passes over the tail, double backward before it",
    DOUBLE: "autograd differentiates its own gradient: six passes or more",
}


@dataclass
class Step:
    """One operation on something that depends on the input.

    Attributes
    ----------
    operation : str
        The function's name.
    parameters : tuple of tuple of int
        Ids of those that it used; of several together where it used a function of them.
    reason : str
        Why it is not on the tape; empty where it is.
    on_tape : bool
    """

    operation: str
    parameters: tuple[tuple[int, ...], ...] = ()
    reason: str = ""
    on_tape: bool = False


@dataclass
class Explanation:
    """The steps of a penalised call, in order.

    Attributes
    ----------
    path : str
        "four passes", "six passes", "tail" or "double backward".
    steps : list of Step
    names : callable
        Returns the parameters' names by their ids.
    """

    path: str = DOUBLE
    steps: list[Step] = field(default_factory=list)
    names: Callable[[], Mapping[int, str]] = dict

    @property
    def passes(self) -> int | None:
        """Passes over the network in a step, of six the most; None where they differ along the network."""
        return {FOUR: 4, SIX: 6}.get(self.path)

    def __str__(self) -> str:
        names = self.names()
        lines = [f"{self.path} ({_COST[self.path]})"]
        lines += _columns(
            (
                "tape" if step.on_tape else "double backward",
                step.operation,
                ", ".join(_named(each, names) for each in step.parameters if each),
                step.reason,
            )
            for step in self.steps
        )
        return "\n".join(lines)

    __repr__ = __str__


class Explanations(dict[str, Explanation]):
    """Explanations by the points that they are about; printed one after the other."""

    def __str__(self) -> str:
        return "\n".join(f"at {points} points: {explanation}" for points, explanation in self.items())

    __repr__ = __str__


def _named(parameters: Sequence[int], names: Mapping[int, str]) -> str:
    known = [names[each] for each in parameters if each in names]
    return " and ".join(known) if 0 < len(known) < 3 else f"made of {len(parameters)} parameters"


def _columns(rows: Iterable[tuple[str, ...]]) -> list[str]:
    table = list(rows)
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    return ["  " + "  ".join(map(str.ljust, row, widths)).rstrip() for row in table]
