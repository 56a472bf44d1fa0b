"""A recipe's row: a JSON file, which a later command reads again, and a picture."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fastgan.trainers.files import replacing
from fastgan.trainers.images import save_png

from .section import Figure, Section
from .training import PRESET, FinishedRun

__all__ = ["Row", "read_rows", "save_picture", "write_row"]

_PICTURED = 50


@dataclass(frozen=True)
class Row:
    """What is known of one recipe."""

    recipe: str
    preset: str
    data: str
    seed: int
    steps: int
    #: ``wall`` and ``cpu``, of the training.
    minutes: dict[str, float]
    threads: int
    sections: list[Section]
    #: Versions that the run was trained with.
    made_by: dict[str, str]

    @classmethod
    def of(cls, run: FinishedRun, sections: list[Section]) -> Row:
        """The row of a run and what was measured of it."""
        config = run.trainer.config
        return cls(
            run.trainer.recipe.name,
            PRESET,
            config.data,
            config.seed,
            config.steps,
            {name: seconds / 60 for name, seconds in run.seconds.items()},
            run.threads,
            sections,
            run.made_by,
        )

    def with_section(self, section: Section) -> Row:
        """Return the row with ``section`` in place of the one of its title, or behind the others."""
        titles = [known.title for known in self.sections]
        place = titles.index(section.title) if section.title in titles else len(titles)
        sections = [*self.sections[:place], section, *self.sections[place + 1 :]]
        return dataclasses.replace(self, sections=sections)

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> Row:
        """What ``write_row`` has written."""
        sections = [
            Section(**part | {"figures": {name: Figure(**figure) for name, figure in part["figures"].items()}})
            for part in content["sections"]
        ]
        return cls(**content | {"sections": sections})


def write_row(folder: Path, row: Row) -> Path:
    """Write RECIPE.json, whole or not at all."""
    path = folder / f"{row.recipe}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(dataclasses.asdict(row), indent=2, ensure_ascii=False) + "\n")
    return path


def read_rows(folder: Path, order: list[str]) -> list[Row]:
    """The rows there are, of the recipes in ``order``."""
    paths = [folder / f"{name}.json" for name in order]
    return [Row.from_json(json.loads(path.read_text())) for path in paths if path.is_file()]


def save_picture(path: Path, run: FinishedRun) -> None:
    """What the recipe shows of the end; of ten classes, each has a column."""
    run.trained()
    save_png(path, run.trainer.picture(_PICTURED, seed=0))
