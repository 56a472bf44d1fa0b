"""What was done with each operation of a network, and why."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

__all__ = ["Explanation", "Step"]

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
    names : tuple of str
        Of the parameters it used.
    reason : str
        Why it is not on the tape; empty where it is.
    on_tape : bool
    """

    operation: str
    names: tuple[str, ...] = ()
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
    """

    path: str = DOUBLE
    steps: list[Step] = field(default_factory=list)

    def __str__(self) -> str:
        lines = [f"{self.path} ({_COST[self.path]})"]
        lines += _columns(
            (
                "tape" if step.on_tape else "double backward",
                step.operation,
                ", ".join(step.names),
                step.reason,
            )
            for step in self.steps
        )
        return "\n".join(lines)

    __repr__ = __str__


def _columns(rows: Iterable[tuple[str, ...]]) -> list[str]:
    table = list(rows)
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    return ["  " + "  ".join(map(str.ljust, row, widths)).rstrip() for row in table]
