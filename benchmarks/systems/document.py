"""docs/systems.md, from the rows."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from pathlib import Path

from .row import Row
from .section import Figure

__all__ = ["document", "page"]

#: Recipes that are described on another one's page.
_PAGES = {"wgan-lp": "wgan-gp", "cvae": "vae"}

_HEAD = """# The recipes, trained

What the preset `small` of each [recipe](recipes/index.md) comes to. `python -m fastgan_bench.systems` trains them all,
measures them and writes this page; `python -m fastgan_bench.systems NAME ...` does some of them, and leaves the rows of
the others. A finished run of the same settings and versions is measured again, not trained again; `--against-stock`
makes the comparison with stock modules again and nothing else. The figures are in `benchmarks/results/systems`, too.
"""


def _number(figure: Figure) -> str:
    """Four digits and three decimals at most, or two digits of the standard error."""
    value, error = figure.value, figure.error
    if error is not None and math.isfinite(error) and error > 0:
        digits = max(0, 1 - math.floor(math.log10(error)))
        return f"{value:.{digits}f} ± {error:.{digits}f}"
    if not math.isfinite(value):
        return str(value)
    if value == int(value) and abs(value) < 1e6:
        return str(int(value))
    if 0 < abs(value) < 1e-3:
        return f"{value:.0e}"
    return f"{value:.{min(3, max(0, 3 - math.floor(math.log10(abs(value)))))}f}"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (head, ["---"] * len(head), *rows))


def _runs(rows: Sequence[Row]) -> str:
    cells = [
        [
            f"[{row.recipe}](recipes/{page(row.recipe)}.md)", row.data, str(row.seed), f"{row.steps:,}",
            f"{row.minutes['wall']:.1f}", f"{row.minutes['cpu']:.1f}", str(row.threads),
        ]
        for row in rows
    ]  # fmt: skip
    text = (
        "Minutes are of the whole command `fastgan train`, with opening the data, sample grids and checkpoints, and of "
        "none of the measurements below: by the clock, and of processors (user and system time). Where other work "
        "shared the processors, the clock's are more than theirs. Versions are those of the packages (`made_by` in the "
        "results): a finished run of earlier code of the same version is kept, while ratios and curves against stock "
        "modules are measured anew by each command."
    )
    head = ["recipe", "data", "seed", "steps", "minutes", "processor minutes", "threads"]
    return f"## Runs\n\n{text}\n\n{_table(head, cells)}\n"


def page(recipe: str) -> str:
    """Name of the page that describes a recipe."""
    return _PAGES.get(recipe, recipe)


def _sections(rows: Sequence[Row]) -> Iterable[str]:
    """A table for each title, in the order in which titles appear."""
    titles = list(dict.fromkeys(section.title for row in rows for section in row.sections))
    for title in titles:
        of_title = [(row.recipe, s) for row in rows for s in row.sections if s.title == title]
        columns = list(dict.fromkeys(name for _, section in of_title for name in section.figures))
        cells = [
            [recipe, *(_number(s.figures[name]) if name in s.figures else "" for name in columns)]
            for recipe, s in of_title
        ]
        notes = dict.fromkeys(section.note for _, section in of_title)
        # One that goes on where another ends says both.
        kept = [note for note in notes if not any(other != note and other.startswith(note) for other in notes)]
        joined = "\n\n".join(kept)
        yield f"## {title}\n\n{joined}\n\n{_table(['recipe', *columns], cells)}\n"


def _goals(rows: Sequence[Row]) -> str:
    missed = [
        f"- {row.recipe}: it does not hold that {goal}"
        for row in rows
        for section in row.sections
        for goal, met in section.goals.items()
        if not met
    ]
    goals = dict.fromkeys(goal for row in rows for section in row.sections for goal in section.goals)
    text = "\n".join(f"- {goal}" for goal in goals)
    outcome = "All hold." if not missed else "They hold but for these:\n\n" + "\n".join(missed)
    return f"## What the figures were to show\n\n{text}\n\n{outcome}\n"


def _pictures(rows: Sequence[Row], images: Path) -> str:
    parts = [f"### {row.recipe}\n\n![Samples of {row.recipe}]({images.as_posix()}/{row.recipe}.png)" for row in rows]
    return "## Samples\n\n" + "\n\n".join(parts) + "\n"


def document(rows: Sequence[Row], images: Path) -> str:
    """The page; ``images`` is the folder of the pictures as seen from it."""
    return "\n".join([_HEAD, _runs(rows), *_sections(rows), _goals(rows), _pictures(rows, images)])
